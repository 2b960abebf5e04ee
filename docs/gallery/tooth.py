"""Turns X-ray counts of a tooth into what `eps restore` takes, and compares with other methods.

    python3 docs/gallery/tooth.py measure tooth.h5 tooth
    python3 docs/gallery/tooth.py figure tooth docs/gallery/tooth.webp

Needs h5py, matplotlib, NumPy, Pillow, scikit-image and SciPy.
"""

import json
import pathlib
import sys

import numpy as np
from scipy.sparse.linalg import lsmr

from projections import back_projection, matrix, total_variation

SIDE = 64  # positions of the detector, and pixels of the image
START, WIDTH = 104, 384  # the pixels of the camera that are used, in each of its two rows
CENTRE = 296.0  # the pixel of the camera on which the axis of rotation falls
VIEWS = (20, 30, 45)
SIGMA = 0.0147  # what the reference leaves
SHOWN = np.s_[9:61, 9:61]  # in the figure
UNIT = 0.035  # images are from 0 to twice this, in absorption a pixel


def sinogram(source, side):
    """Absorption [position, view] at `side` positions, the standard deviation that the counts give it, and the angles in degrees."""
    import h5py

    with h5py.File(source) as file:
        exchange = file["exchange"]
        data, white, dark = (exchange[name][:].astype(float) for name in ("data", "data_white", "data_dark"))
        angles = exchange["theta"][:]
    # A count is a part of a photon or several: the variance of counts over their mean, from neighbouring frames without the
    # tooth, whose brightness differs by a common factor.
    level = white.mean(axis=(1, 2), keepdims=True)
    differences = np.diff(white / level * level.mean(), axis=0)
    gain = (differences.var(axis=0) / 2 / white.mean(axis=0)).mean()

    def binned(counts):
        pixels = counts[..., START : START + WIDTH]
        return pixels.reshape(*pixels.shape[:-1], side, WIDTH // side).sum(axis=(-3, -1))

    data, white, dark = binned(data), binned(white.mean(axis=0)), binned(dark.mean(axis=0))
    sigma = np.sqrt(gain * data) / (data - dark)
    return -np.log((data - dark) / (white - dark)).T, sigma.T, angles


def radon(angles, side, centre=CENTRE):
    """The operator at `side` positions where the axis of rotation falls on the pixel `centre` of the camera."""
    axis = (centre - START + 0.5) * side / WIDTH - 0.5
    return {"operator": "radon", "angles_degrees": [round(float(angle), 4) for angle in angles], "axis": round(axis, 4)}


def least_squares(y, operator, damp=1.0):
    """The image that explains y best, and what it leaves."""
    A = matrix(operator, len(y))
    image = lsmr(A, y.ravel(), damp=damp, maxiter=100)[0]
    return image.reshape(len(y), len(y)), (A @ image).reshape(y.shape) - y


def measure(source, out):
    """y-N.npy [1, 64, N] and operator-N.json for N of the views, evenly spread; reference.npy, of all of them."""
    y, sigma, angles = sinogram(source, SIDE)
    print(f"counts give sigma {sigma.min():.4f} to {sigma.max():.4f}, {rms(sigma):.4f} in the mean of the square")
    for centre in (295.0, 295.5, 296.0, 296.5, 297.0):
        left = least_squares(y, radon(angles, SIDE, centre))[1]
        print(f"axis on pixel {centre} of the camera: least squares of all views at {SIDE} positions leave {rms(left):.4f}")
    # Three times as fine, a pixel of the image is the mean of 3×3 around the one of the same centre.
    fine, left = least_squares(sinogram(source, 3 * SIDE)[0], radon(angles, 3 * SIDE), damp=3.0)
    reference = 3 * np.roll(fine, (1, 1), (0, 1)).reshape(SIDE, 3, SIDE, 3).mean(axis=(1, 3))
    print(f"at {3 * SIDE} positions they leave {rms(left):.4f}")
    seen = matrix(radon(angles, SIDE), SIDE) @ reference.ravel()
    print(f"the means of 3×3 pixels of that, seen at {SIDE} positions, leave {rms(seen - y.ravel()):.4f}")
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "reference.npy", reference)
    for count in VIEWS:
        chosen = [(i * len(angles) + count // 2) // count for i in range(count)]
        np.save(out / f"y-{count}.npy", y[None][:, :, chosen])
        operator = radon(angles[chosen], SIDE)
        (out / f"operator-{count}.json").write_text(json.dumps(operator))
        if count > 20:
            np.save(out / f"matrix-{count}.npy", matrix(operator, SIDE).toarray())
            written = {"operator": "dense", "matrix": {"file": f"matrix-{count}.npy"}}
            (out / f"matrix-{count}.json").write_text(json.dumps(written))
            np.save(out / f"flat-{count}.npy", y[:, chosen].reshape(1, 1, -1))


def rms(values):
    return np.sqrt((values**2).mean())


def figure(folder, out):
    """A row for each number of views: the other methods, samples of EPS, their mean and standard deviation, and all views."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    def load(count):
        operator = json.loads((folder / f"operator-{count}.json").read_text())
        return operator, np.load(folder / f"y-{count}.npy")[0]

    reference = np.load(folder / "reference.npy")
    rows, columns = np.indices((SIDE, SIDE)) - SIDE / 2
    seen = np.hypot(rows, columns) < SIDE / 2 - 1
    weights = [10.0**k for k in np.arange(-4.0, -0.4, 0.25)]
    panels, axes = plt.subplots(len(VIEWS), 7, figsize=(16, 7.15), facecolor="black")
    for row, count in zip(axes, VIEWS):
        operator, y = load(count)
        A = matrix(operator, SIDE)
        variations = [total_variation(A, y.ravel(), weight) for weight in weights]
        best = int(np.argmin([rms((image - reference)[seen]) for image in variations]))
        samples = np.load(folder / f"restored-{count}/samples.npy")[0, :, 0]
        mean, deviation = samples.mean(axis=0), samples.std(axis=0, ddof=1)
        images = {
            "filtered back-projection": back_projection(operator, y),
            "total variation": variations[best],
            "a sample of EPS": samples[0],
            "another": samples[1],
            "mean": mean,
        }
        for name, image in images.items():
            residual = rms(A @ image.ravel() - y.ravel()) / SIGMA
            print(f"{count} views, {name}: error {rms((image - reference)[seen]):.5f}, residual {residual:.2f} sigma")
        print(f"{count} views: weight {weights[best]:.2g} of total variation is the best of {len(weights)} from {weights[0]:.2g} to {weights[-1]:.2g}")
        print(f"{count} views: mean standard deviation of {len(samples)} samples {deviation[seen].mean():.5f}")
        images["standard deviation, ×8"] = 8 * deviation
        images["all 181 views"] = reference
        for axis, (title, image) in zip(row, images.items()):
            axis.imshow(image[SHOWN], cmap="inferno" if "deviation" in title else "gray", vmin=0, vmax=2 * UNIT, interpolation="bicubic")
            axis.set_xticks([])
            axis.set_yticks([])
            if count == VIEWS[0]:
                axis.set_title(title, color="white", fontsize=11)
        row[0].set_ylabel(f"{count} views", color="white", fontsize=12)
    plt.subplots_adjust(left=0.02, right=0.998, top=0.955, bottom=0.005, wspace=0.02, hspace=0.02)
    panels.savefig(out, dpi=90, facecolor="black", pil_kwargs={"quality": 88, "method": 6})


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    paths = [pathlib.Path(path) for path in paths]
    if what == "measure":
        measure(*paths)
    elif what == "figure":
        figure(*paths)
    else:
        sys.exit(__doc__)

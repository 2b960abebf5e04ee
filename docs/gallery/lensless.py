"""Turns the picture of a camera without a lens into what `eps restore` takes, and compares with other methods.

    python3 docs/gallery/lensless.py measure psf_sample.tif rawdata_hand_sample.tif lensless
    python3 docs/gallery/lensless.py figure lensless docs/gallery/lensless.webp

Needs matplotlib, NumPy, Pillow, scikit-image and SciPy.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image
from scipy.fft import irfft2, rfft2
from scipy.sparse.linalg import LinearOperator, lsmr

BIN = 10  # pixels of the sensor to a side of a pixel here
TOP, LEFT, HEIGHT, WIDTH = 78, 134, 80, 96  # the part of the scene that is restored, in that of a valid convolution
SIGMA = 0.007  # what least squares leave
WHITE = 12  # in the figure; a scene of ones gives a y of ones


class Camera:
    """A: the part of the scene with darkness around it, its convolution with the response to a point, as far as the sensor saw."""

    def __init__(self, response):
        self.rows, self.columns = response.shape
        self.shape = (2 * self.rows, 2 * self.columns)
        self.spectrum = rfft2(response, self.shape)
        self.part = np.s_[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
        self.sensor = np.s_[self.rows - 1 : 2 * self.rows - 1, self.columns - 1 : 2 * self.columns - 1]

    def apply(self, image):
        scene = np.zeros(self.shape)
        scene[self.part] = image
        return irfft2(self.spectrum * rfft2(scene), self.shape)[self.sensor]

    def adjoint(self, y):
        seen = np.zeros(self.shape)
        seen[self.sensor] = y
        return irfft2(self.spectrum.conj() * rfft2(seen), self.shape)[self.part]


def binned(pixels):
    return pixels.reshape(pixels.shape[0] // BIN, BIN, pixels.shape[1] // BIN, BIN).mean(axis=(1, 3))


def measure(point, picture, out):
    """y.npy [1, 120, 160], kernel.npy, the response to a point, and the operator."""
    pixels = [np.array(Image.open(path)).astype(float) for path in (point, picture)]
    response, y = (binned(image) for image in pixels)
    for name, image in (("the response to a point", response), ("the picture", y)):
        print(f"{name}: {image.min():.0f} to {image.max():.0f} of 65535, the median of the first five rows {np.median(image[:5]):.0f}")
    response = np.maximum(response - np.median(response[:5]), 0)  # its upper edge is dark
    response /= response.sum()
    # The alternating sum of a pixel's 10×10 is its noise alone, where the picture is smooth.
    noise = binned(pixels[1] * (-1.0) ** np.indices(pixels[1].shape).sum(axis=0)).std() / (y.max() - y.min())
    y = (y - y.min()) / (y.max() - y.min())
    rows, columns = response.shape
    padding = {"top": TOP, "bottom": 2 * rows - 1 - TOP - HEIGHT, "left": LEFT, "right": 2 * columns - 1 - LEFT - WIDTH}
    chain = [{"operator": "pad", **padding}, {"operator": "convolution", "kernel": {"file": "kernel.npy"}, "border": "valid"}]
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "y.npy", y[None])
    np.save(out / "kernel.npy", response)
    (out / "operator.json").write_text(json.dumps({"operator": "chain", "of": chain}, indent=1))
    camera = Camera(response)
    unknowns = HEIGHT * WIDTH
    A = LinearOperator((y.size, unknowns), lambda x: camera.apply(x.reshape(HEIGHT, WIDTH)).ravel(), lambda r: camera.adjoint(r.reshape(y.shape)).ravel())
    image = lsmr(A, y.ravel(), damp=1e-3, maxiter=300)[0]
    left = A @ image - y.ravel()
    print(f"the sensor's own noise: {noise:.5f}")
    print(f"least squares leave {np.sqrt((left**2).sum() / (y.size - unknowns)):.4f} with the correction for {unknowns} pixels, the noise of {y.size} values")
    np.save(out / "least-squares.npy", image.reshape(HEIGHT, WIDTH))


def wiener(y, camera, ratio):
    """Wiener's filter, as if the sensor's edges were dark: a crop of conj(H) Y / (|H|² + ratio)."""
    seen = np.zeros(camera.shape)
    seen[camera.sensor] = y
    filtered = camera.spectrum.conj() * rfft2(seen) / (abs(camera.spectrum) ** 2 + ratio)
    return irfft2(filtered, camera.shape)[camera.part]


def total_variation(y, camera, weight, steps=300):
    """min |A x − y|²/2 + weight TV(x), x ≥ 0: steps along the gradient with momentum (FISTA), each denoised by Chambolle's dual."""
    from skimage.restoration import denoise_tv_chambolle

    step = 1 / abs(camera.spectrum).max() ** 2
    x = ahead = np.zeros((HEIGHT, WIDTH))
    momentum = 1.0
    for _ in range(steps):
        moved = ahead - step * camera.adjoint(camera.apply(ahead) - y)
        new = np.maximum(0, denoise_tv_chambolle(moved, weight=step * weight, max_num_iter=20))
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - x)
        x, momentum = new, following
    return x


def figure(folder, out):
    """What the sensor saw, and the scene by Wiener's filter, least squares, total variation and EPS."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    y, camera = np.load(folder / "y.npy")[0], Camera(np.load(folder / "kernel.npy"))

    def residual(image):
        return np.sqrt(((camera.apply(image) - y) ** 2).mean()) / SIGMA

    def fitting(restore, settings):
        """The strongest setting whose residual is at most 1, as Morozov's principle has it, else the one of the least."""
        found = [(setting, restore(y, camera, setting)) for setting in settings]
        fits = [pair for pair in found if residual(pair[1]) <= 1]
        return fits[-1] if fits else min(found, key=lambda pair: residual(pair[1]))

    ratio, by_wiener = fitting(wiener, [10.0**k for k in np.arange(-8, -1.9, 0.5)])
    weight, by_variation = fitting(total_variation, [10.0**k for k in np.arange(-5, -2.9, 0.25)])
    samples = np.load(folder / "restored/samples.npy")[0, :, 0]
    mean, deviation = samples.mean(axis=0), samples.std(axis=0, ddof=1)
    images = {
        "Wiener's filter": by_wiener,
        "least squares": np.load(folder / "least-squares.npy"),
        "total variation": by_variation,
        "a sample of EPS": samples[0],
        "mean": mean,
    }
    print(f"Wiener's ratio {ratio:.2g}, total variation's weight {weight:.2g}")
    for name, image in images.items():
        print(f"{name}: residual {residual(image):.2f} sigma")
    each = [residual(sample) for sample in samples]
    print(f"samples of EPS: residual {np.mean(each):.2f} sigma, mean standard deviation {deviation.mean():.3f}, {len(samples)} samples")
    images["standard deviation, ×10"] = 10 * deviation
    point = np.load(folder / "kernel.npy")
    seen = {"a point of light, as the sensor sees it": WHITE * point / np.percentile(point, 99.5), "the hand, as it sees it": WHITE * y}
    panels, axes = plt.subplots(2, 4, figsize=(16, 7.1), facecolor="black")
    for axis, (title, image) in zip(axes.flat, {**seen, **images}.items()):
        shown = np.clip(image / WHITE, 0, 1) ** (1 if "deviation" in title else 0.6)
        axis.imshow(shown, cmap="inferno" if "deviation" in title else "gray", vmin=0, vmax=1, interpolation="bicubic")
        axis.set_title(title, color="white", fontsize=12)
        axis.axis("off")
    plt.subplots_adjust(left=0.003, right=0.997, top=0.955, bottom=0.004, wspace=0.015, hspace=0.09)
    panels.savefig(out, dpi=85, facecolor="black", pil_kwargs={"quality": 88, "method": 6})


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    paths = [pathlib.Path(path) for path in paths]
    if what == "measure":
        measure(*paths)
    elif what == "figure":
        figure(*paths)
    else:
        sys.exit(__doc__)

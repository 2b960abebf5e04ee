"""Turns the published visibilities of the black hole M87* into what `eps restore` takes, and makes what its networks are trained on.

    python3 docs/gallery/m87.py measure M87_3601_lo_selfcal.uvfits m87
    python3 docs/gallery/m87.py images .deps/photos/photos-64.h5 .deps/fashion-mnist/train-images-idx3-ubyte.gz m87
    python3 docs/gallery/m87.py figure m87 docs/gallery/m87.webp

Needs astropy, h5py, NumPy and matplotlib.
"""

import gzip
import hashlib
import json
import pathlib
import sys

import numpy as np

SIDE = 32  # pixels
PIXEL = 4.0  # microarcseconds
MINUTES = 10  # the visibilities of a pair of telescopes are averaged over this time
SYSTEMATIC = 0.01  # of the amplitude: what calibration leaves beside the thermal noise
UNIT = 4e-3  # Jy a pixel: images are in this unit, from 0 to 2


def measure(source, out):
    """y.npy [2, 1, M], visibilities over their standard deviations, and the operator that belongs to it."""
    from astropy.io import fits

    with fits.open(source) as file:
        rows, frequency = file[0].data, file[0].header["CRVAL4"]
        u, v = (rows.par(i) * frequency for i in (0, 1))  # wavelengths
        pair = rows.par("BASELINE")
        minutes = (rows.par(4).astype(float) + rows.par(5)) * 24 * 60
        data = rows.data[:, 0, 0, 0, 0].astype(float)
    value = data[:, :2, 0] + 1j * data[:, :2, 1]  # RR, LL
    weight = data[:, :2, 2]  # 1/sigma^2
    good = (weight > 0).all(axis=1)
    intensity, variance = value[good].mean(axis=1), (0.25 / weight[good]).sum(axis=1)
    u, v, pair, minutes = u[good], v[good], pair[good], minutes[good]

    scans = np.stack([pair, np.floor((minutes - minutes.min()) / MINUTES)], axis=1)
    scan = np.unique(scans, axis=0, return_inverse=True)[1].ravel()
    total = np.bincount(scan, 1 / variance)

    def mean(x):
        return np.bincount(scan, x / variance) / total

    visibility = mean(intensity.real) + 1j * mean(intensity.imag)
    u, v = mean(u), mean(v)
    sigma = np.sqrt(1 / total + (SYSTEMATIC * abs(visibility)) ** 2)

    # V(u, v) = Σ I e^{+2πi(u l + v m)} with l to the east, which is left, and m to the north, which is up: the sign is
    # that of the collaboration's own programs. Against pixels, which run right and down, it is e^{−2πi(u c + v r)}.
    points = np.stack([u, v], axis=1) * PIXEL * 1e-6 / 3600 * np.pi / 180
    middle = (SIDE - 1) / 2
    y = visibility * np.exp(-2j * np.pi * middle * points.sum(axis=1)) / SIDE / (sigma / SIDE)
    weights = np.tile(SIDE / sigma, 2) * UNIT
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "y.npy", np.stack([y.real, y.imag])[:, None])

    fourier = {"operator": "nonuniform-fourier", "points": np.round(points, 9).tolist(), "method": "direct"}
    weights = [float(f"{weight:.7g}") for weight in weights]
    operator = {"operator": "chain", "of": [fourier, {"operator": "weights", "weights": weights}]}
    (out / "operator.json").write_text(json.dumps(operator))
    print(f"{len(y)} visibilities of {len(intensity)}, up to {np.hypot(u, v).max() / 1e9:.1f} Gλ")


def save_set(path, splits, name, source, licence):
    """Images as `eps train` reads them."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs.update(format="eps-images", format_version=np.uint64(1), created_by="docs/gallery/m87.py", config="{}")
        lines = []
        for split, images in splits.items():
            group = file.create_group(split)
            group["images"] = images
            group["sources"] = np.arange(len(images), dtype=np.uint32) + len(lines)
            lines += [f"{split}\t{i}" for i in range(len(images))]
            digest = hashlib.sha256(images.tobytes()).hexdigest()
            group.attrs.update(range="[-1, 1]: uint8 / 127.5 - 1", name=f"{name}, {split}", source=source)
            group.attrs.update(licence=licence, sha256=digest)
        file["sources"] = np.frombuffer("".join(line + "\n" for line in lines).encode(), np.uint8)


def windowed(photographs, side, out):
    """Grey photographs behind a round window in the dark: of any brightness, turned, mirrored and inverted at random."""
    import h5py

    random = np.random.default_rng(0)
    splits = {}
    with h5py.File(photographs) as file:
        licence = file["train"].attrs["licence"].decode()
        for split, count in (("train", 24000), ("validation", 1000), ("test", 1000)):
            grey = np.tensordot(file[split]["images"][:] / np.float32(255), np.float32([0.299, 0.587, 0.114]), ((1,), (0,)))
            images = np.empty((count, 1, side, side), np.uint8)
            rows, columns = np.indices((side, side)) - (side - 1) / 2
            for i in range(count):
                image = grey[random.integers(len(grey))]
                if side == 32 and random.random() < 0.5:
                    image = image.reshape(32, 2, 32, 2).mean((1, 3))
                elif side == 32:
                    row, column = random.integers(0, 33, 2)
                    image = image[row : row + 32, column : column + 32]
                if random.random() < 0.5:
                    image = image[:, ::-1]
                image = np.rot90(image, random.integers(4))
                if random.random() < 0.3:
                    image = 1 - image
                image = image * random.uniform(0.4, 1) / max(image.max(), 0.2)
                radius, edge = side * random.uniform(0.2, 0.42), side * random.uniform(0.04, 0.2)
                row, column = random.uniform(-0.08, 0.08, 2) * side
                distance = np.hypot(rows - row, columns - column)
                window = 0.5 - 0.5 * np.sin(np.pi / 2 * np.clip((distance - radius) / edge, -1, 1))
                images[i, 0] = np.round(255 * np.clip(image * window, 0, 1))
            splits[split] = images
    save_set(out, splits, "photographs behind a round window", "photos-64", licence)


def framed(clothes, out):
    """Fashion-MNIST in a frame of two black pixels."""
    with gzip.open(clothes) as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 1, 28, 28)
    images = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    splits = {"train": images[:55000], "validation": images[55000:59000], "test": images[59000:]}
    save_set(out, splits, "Fashion-MNIST in a frame", "Fashion-MNIST", "MIT")


def describe(samples):
    """Diameter of the ring in microarcseconds, its middle over its crest, and its south over its north, of each sample."""
    from scipy.ndimage import map_coordinates

    rows, columns = np.indices((SIDE, SIDE))
    bright = np.clip(samples.mean(axis=0), 0, None)
    centre = [(bright * index).sum() / bright.sum() for index in (rows, columns)]
    radii, angles = np.arange(0, 12, 0.25), np.arange(0, 2 * np.pi, np.pi / 36)
    at = [
        centre[0] - np.outer(radii, np.cos(angles)),  # the angle is counted from north
        centre[1] - np.outer(radii, np.sin(angles)),
    ]
    found = []
    for sample in samples:
        polar = map_coordinates(sample, at, order=1)
        profile = polar.mean(axis=1)
        crest = profile.argmax()
        around = polar[crest]
        south, north = around[abs(angles - np.pi) < np.pi / 3].mean(), around[np.cos(angles) > 0.5].mean()
        found.append((2 * radii[crest] * PIXEL, profile[0] / profile[crest], south / north))
    return np.array(found)


def figure(folder, out):
    """Samples, mean and standard deviation under both priors, in one colour scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    priors = (("m87-photographs", "photographs"), ("m87-clothes", "clothes"))
    panels, axes = plt.subplots(2, 6, figsize=(15, 5.4), facecolor="black")
    for number, (row, (name, words)) in enumerate(zip(axes, priors)):
        samples = np.load(folder / name / "samples.npy")[0, :, 0] * UNIT * 1e3  # mJy a pixel
        for what, value in zip(("diameter in µas", "middle over crest", "south over north"), describe(samples).T):
            print(f"{words}: {what} {value.mean():.2f} ± {value.std(ddof=1):.2f} over {len(value)} samples")
        images = [*samples[:4], samples.mean(axis=0), samples.std(axis=0)]
        titles = ["a sample", "another", "a third", "a fourth", "mean", "standard deviation"]
        for axis, image, title in zip(row, images, titles):
            axis.imshow(image, cmap="afmhot", vmin=0, vmax=8 if title != "standard deviation" else 2, interpolation="bicubic")
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set_visible(False)
            if number == 0:
                axis.set_title(title, color="white", fontsize=12)
        row[0].set_ylabel(words, color="white", fontsize=12)
    bar = 50 / PIXEL
    axes[0, 0].plot([2, 2 + bar], [29.5, 29.5], color="white", lw=2)
    axes[0, 0].text(2, 28.3, "50 µas", color="white", fontsize=10)
    plt.subplots_adjust(left=0.03, right=0.995, top=0.92, bottom=0.01, wspace=0.02, hspace=0.04)
    panels.savefig(out, dpi=100, facecolor="black", pil_kwargs={"quality": 88, "method": 6})


what, *paths = sys.argv[1:]
paths = [pathlib.Path(path) for path in paths]
if what == "measure":
    measure(*paths)
elif what == "images":
    windowed(paths[0], 32, paths[2] / "photographs.h5")
    windowed(paths[0], 64, paths[2] / "photographs-64.h5")
    framed(paths[1], paths[2] / "clothes.h5")
elif what == "figure":
    figure(*paths)
else:
    sys.exit(__doc__)

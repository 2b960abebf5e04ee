"""Restores the measurements of photographs.md by the classical method of choice for each, as files that `eps evaluate` scores.

python3 -m pip install scikit-image==0.26.0 h5py && python3 docs/gallery/classical.py FOLDER

FOLDER has NAME.h5 of `eps measure`; NAME-METHOD.h5 is written beside it, and NAME-mean.h5 with the mean of the samples in
NAME/samples.h5, where `eps restore` wrote them. Missing pixels: biharmonic inpainting. Blurs: Wiener's
filter with the spectrum of natural images, and total variation. Too few pixels: bicubic. Constants are those that are best
for the picture at hand, by its truth, which no user has: the methods are shown at their best.
"""

import pathlib
import sys

import h5py
import numpy as np
from skimage import restoration, transform

folder = pathlib.Path(sys.argv[1])


def text(attribute):
    """An attribute that is text, of fixed length or not."""
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)


def psnr(x, truth):
    """On [0, 1], of values that are clipped."""
    return -10 * np.log10(np.mean((np.clip(x, -1, 1) / 2 - truth / 2) ** 2))


def best(restore, values, truth):
    """The restoration with the constant that gives the least error."""
    return max((restore(value) for value in values), key=lambda x: psnr(x, truth))


def biharmonic(y, mask):
    """Biharmonic inpainting; what was observed is smoothed first, as its noise would be extended."""

    def restore(weight):
        seen = restoration.denoise_tv_chambolle(y, weight=weight, channel_axis=0) if weight else y
        return restoration.inpaint_biharmonic(np.where(mask, seen, 0), ~mask, channel_axis=0)

    return restore


def transfer(kernel, shape):
    """The Fourier transform of a kernel whose centre is at (rows/2, columns/2)."""
    padded = np.zeros(shape)
    rows, columns = kernel.shape
    padded[:rows, :columns] = kernel
    return np.fft.fft2(np.roll(padded, (-(rows // 2), -(columns // 2)), (0, 1)))


def wiener(y, h):
    """Wiener's filter for a spectrum of images that falls with the square of the frequency."""
    height, width = y.shape[1:]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width) * width)
    falling = np.maximum(frequency, 1) ** 2

    def restore(constant):
        gain = np.conj(h) / (np.abs(h) ** 2 + constant * falling)
        return np.fft.ifft2(np.fft.fft2(y) * gain).real

    return restore


def total_variation(y, h, steps=200):
    """The least |h * x - y|^2 / 2 + weight TV(x), by accelerated proximal gradients (FISTA)."""

    def restore(weight):
        x = z = y
        t = 1.0
        for _ in range(steps):
            residual = h * np.fft.fft2(z) - np.fft.fft2(y)
            gradient = np.fft.ifft2(np.conj(h) * residual).real
            new = restoration.denoise_tv_chambolle(z - gradient, weight=weight, channel_axis=0)
            t_new = (1 + np.sqrt(1 + 4 * t * t)) / 2
            x, z, t = new, new + (t - 1) / t_new * (new - x), t_new
        return x

    return restore


def bicubic(y, truth):
    """Bicubic interpolation to the size of the truth, of values that are smoothed first."""

    def restore(weight):
        smooth = restoration.denoise_tv_chambolle(y, weight=weight, channel_axis=0) if weight else y
        return transform.resize(smooth, truth.shape, order=3, mode="edge")

    return restore


def restorations(file):
    """The classical restorations of a measurement, by name."""
    y, truth = file["y"][0], file["truth"][0]
    operator = text(file.attrs["operator"])
    if "mask" in file:
        yield "biharmonic", best(biharmonic(y, file["mask"][0] > 0), [0, 0.02, 0.05, 0.1], truth), truth
    elif "kernel" in file:
        h = transfer(file["kernel"][0], y.shape[1:])
        yield "wiener", best(wiener(y, h), np.logspace(-6, -2, 17), truth), truth
        yield "tv", best(total_variation(y, h), [0.002, 0.005, 0.01, 0.02, 0.05], truth), truth
    elif "average-pool" in operator:
        yield "bicubic", best(bicubic(y, truth), [0, 0.02, 0.05, 0.1], truth), truth
    else:
        raise SystemExit(f"no classical method is here for {operator}")


for path in sorted(folder.glob("*.h5")):
    with h5py.File(path) as file:
        if text(file.attrs.get("format", "")) != "eps-measurements":
            continue
        found = list(restorations(file))
    if (sampled := path.with_suffix("") / "samples.h5").exists():
        with h5py.File(sampled) as file:
            found.append(("mean", file["posterior_mean"][0], file["truth"][0]))
    for name, x, truth in found:
        out = path.with_name(f"{path.stem}-{name}.h5")
        with h5py.File(out, "w") as file:
            channels, height, width = truth.shape
            file.attrs.update(
                format="eps-samples", format_version=np.uint64(1), created_by="classical.py", config="{}",
                channels=np.uint64(channels), height=np.uint64(height), width=np.uint64(width),
                range="[-1, 1]", name=name, source="scikit-image 0.26.0", licence="that of the picture", sha256="",
            )
            file["samples"] = np.clip(x, -1, 1)[None, None].astype(np.float32)
            file["posterior_mean"] = file["samples"][:, 0]
            file["posterior_sd"] = np.zeros_like(file["posterior_mean"])
            file["truth"] = truth[None].astype(np.float32)
        print(f"{out}: {psnr(x, truth):.1f} dB")

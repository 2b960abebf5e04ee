"""Looks for seams: restorations in windows beside those of the whole picture in one pass and of tiles that are put side by side.

python3 -m pip install scikit-image==0.26.0 h5py, and `eps` on the PATH; in the repository's folder
python3 docs/gallery/seams.py FOLDER

Three pictures of 288x288 pixels are restored three times each, one sample of ten calls with the same seed: in one pass, in windows of 96x96,
and as nine tiles of 96x96 that know nothing of each other. A line between two rows or columns of pixels has a step: the mean absolute
difference of the pixels on its two sides. It is divided by the step of the restoration in one pass at the same line, so that edges of the
picture count little. Prints the mean step at lines where windows or tiles end over that at lines where nothing ends, with the standard
error that the spread of the latter gives. What FOLDER has already is not computed again.
"""

import itertools
import math
import pathlib
import struct
import subprocess
import sys

import h5py
import numpy as np
from skimage import data, io

NETWORK = "data/networks/photographs/photographs.safetensors"
CALLS, SIGMA = 10, "0.05"
LENGTH, SIDE = 288, 96  # pixels: of a picture, of a window and of a tile
EDGE = 8  # lines nearer to the edges of a picture do not count


def eps(*arguments):
    subprocess.run(["eps", *map(str, arguments)], check=True, capture_output=True, text=True)


def pictures(folder):
    """288x288 pixels of three pictures, and a mask that hides 60 %."""
    cuts = {
        "astronaut": data.astronaut()[6 : 6 + LENGTH, 96 : 96 + LENGTH],
        "coffee": data.coffee()[66 : 66 + LENGTH, 186 : 186 + LENGTH],
        "chelsea": data.chelsea()[6 : 6 + LENGTH, 86 : 86 + LENGTH],
    }
    for name, pixels in cuts.items():
        io.imsave(folder / f"{name}.png", pixels, check_contrast=False)
    seen = np.random.default_rng(1).random((LENGTH, LENGTH)) >= 0.6
    io.imsave(folder / "mask.png", seen.astype(np.uint8) * 255, check_contrast=False)
    operators = {
        "60 % missing": ("mask", ["--mask", folder / "mask.png"]),
        "super-resolution, 4 to 1": ("sr", ["--factor", "4"]),
    }
    return list(cuts), operators


def restored(out, measured, *flags):
    """One sample, and the truth where the measurement has it."""
    if not out.exists():
        sampler = ["--samples", 1, "--sampler", "euler", "--calls", CALLS, "--precision", "bf16"]
        eps("restore", "--measurement", measured, "--network", NETWORK, *sampler, *flags, "--out", out)
    with h5py.File(out / "samples.h5") as file:
        return file["samples"][0, 0], file["truth"][0] if "truth" in file else None


def of_tiles(name, measured, flags):
    """Tiles of a measurement, each restored by itself, side by side."""
    with h5py.File(measured) as file:
        y = np.nan_to_num(file["y"][0])
    whole, side = np.zeros((3, LENGTH, LENGTH)), SIDE * y.shape[1] // LENGTH
    for number, (row, column) in enumerate(itertools.product(range(LENGTH // SIDE), repeat=2)):
        here = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
        tile, asked = name.with_name(f"{name.name}-tile-{number}"), list(flags)
        np.save(tile.with_suffix(".npy"), y[None, :, *here])
        if flags[0] == "--mask":
            asked[1] = tile.with_suffix(".png")
            io.imsave(asked[1], io.imread(flags[1])[here], check_contrast=False)
        image, _ = restored(tile, tile.with_suffix(".npy"), *asked, "--sigma-y", SIGMA, "--seed", number)
        whole[:, row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = image
    return whole


def moved(sigma, axis):
    """How far windows are moved at a noise level; crates/eps-model/src/windows.rs has this rule and the next."""
    level = np.float32(0.25 * math.log(sigma))  # what the network reads
    bits = struct.unpack("<Q", struct.pack("<d", level))[0] + axis
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return (bits ^ bits >> 31) >> 48


def ends(length, sigma, axis):
    """The lines where a window ends or begins."""
    stride, last = SIDE - SIDE // 4, length - SIDE
    starts = [0, *range(stride - moved(sigma, axis) % stride, last, stride), last]
    return {*starts[1:], *(start + SIDE for start in starts[:-1])}


def lines():
    """For rows and columns the lines where windows end at every call, and those where they end at one or more."""
    highest, lowest = 80 ** (1 / 7), 0.002 ** (1 / 7)
    sigmas = [(highest + call / (CALLS - 1) * (lowest - highest)) ** 7 for call in range(CALLS)]
    of_calls = [[ends(LENGTH, sigma, axis) for sigma in sigmas] for axis in (1, 2)]
    return [set.intersection(*calls) for calls in of_calls], [set.union(*calls) for calls in of_calls]


def steps(image, axis):
    """Of each line between rows (axis 1) or columns (axis 2); line p is before pixel p."""
    return np.concatenate([[np.nan], abs(np.diff(image, axis=axis)).mean((0, 3 - axis))])


def compared(found, elsewhere):
    """The mean over that elsewhere, where it is 1."""
    error = np.std(elsewhere, ddof=1) * math.sqrt(1 / len(found) + 1 / len(elsewhere))
    digits = 2 if error >= 0.01 else 3
    return f"{np.mean(found):.{digits}f} ± {error:.{digits}f}"


def row(folder, cuts, short, flags):
    """The cells of a row."""
    every, some = lines()
    tiles = set(range(SIDE, LENGTH, SIDE))
    found, elsewhere = [[] for _ in range(5)], [[] for _ in range(5)]
    for cut in cuts:
        name = folder / f"{short}-{cut}"
        measured = name.with_suffix(".h5")
        if not measured.exists():
            eps("measure", "--image", folder / f"{cut}.png", *flags, "--sigma-y", SIGMA, "--seed", 1, "--out", measured)
        once, truth = restored(folder / f"{name.name}-whole", measured)
        windows, _ = restored(folder / f"{name.name}-windows", measured, "--window", SIDE)
        side_by_side = of_tiles(name, measured, flags)
        for axis in (1, 2):
            at_every, at_some = every[axis - 1], some[axis - 1] - every[axis - 1]
            others = [line for line in range(EDGE, LENGTH - EDGE + 1) if line not in at_every | at_some | tiles]
            scale = steps(once, axis)
            columns = [
                (steps(truth, axis) / scale, at_every),
                (steps(windows, axis) / scale, at_every),
                (steps(windows, axis) / scale, at_some),
                (steps(side_by_side, axis) / scale, tiles),
                (steps(windows - once, axis), at_every),
            ]
            for index, (ratios, at) in enumerate(columns):
                ratios = ratios / np.mean(ratios[others])
                found[index] += [ratios[line] for line in at if EDGE <= line <= LENGTH - EDGE]
                elsewhere[index] += list(ratios[others])
    return [compared(*pair) for pair in zip(found, elsewhere)]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    cuts, operators = pictures(folder)
    print("| what was measured | truth | windows, lines of every call | windows, lines of some calls | tiles | windows less one pass |")
    print("|---|---|---|---|---|---|")
    for label, operator in operators.items():
        print(f"| {label} | " + " | ".join(row(folder, cuts, *operator)) + " |", flush=True)


if __name__ == "__main__":
    main()

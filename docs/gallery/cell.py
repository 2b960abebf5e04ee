"""What other methods make of the cell's projections, and the figure of cell.md.

    python3 docs/gallery/cell.py target/demo/hl60 docs/gallery/cell.webp

Needs matplotlib, NumPy, Pillow, scikit-image and SciPy.
"""

import json
import pathlib
import sys

import matplotlib
import numpy as np
from scipy.sparse.linalg import lsmr

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from projections import back_projection, matrix, total_variation

SIDE, SIGMA = 64, 0.04
folder, out = (pathlib.Path(path) for path in sys.argv[1:])


def load(prefix):
    operator = json.loads((folder / f"measured/{prefix}operator.json").read_text())
    return operator, np.load(folder / f"measured/{prefix}y.npy").ravel()


everything, all_y = load("all-")


def least_squares(operator):
    A = matrix(operator["of"], SIDE) * operator["factor"]
    image = lsmr(A, all_y, damp=1.5 * operator["factor"], maxiter=300)[0]
    return image, A @ image - all_y


for axis in (31.25, 31.5, 31.75, 32.0, 32.25):
    moved = {**everything, "of": {**everything["of"], "axis": axis}}
    print(f"axis at {axis}: {np.sqrt((least_squares(moved)[1] ** 2).mean()):.4f} rad are left")
reference, left = least_squares(everything)
freedom = len(all_y) - np.pi * (SIDE / 2) ** 2
print(f"all directions, least squares: {np.sqrt((left**2).sum() / freedom):.3f} rad are left, {np.sqrt((left**2).mean()):.3f} without the correction for {SIDE}² pixels")
reference = reference.reshape(SIDE, SIDE)

few, y = load("")
A = matrix(few["of"], SIDE) * few["factor"]
views = len(few["of"]["angles_degrees"])
rows, columns = np.indices((SIDE, SIDE)) - SIDE / 2
seen = np.hypot(rows, columns) < SIDE / 2 - 1


def error(image):
    return np.sqrt(((image - reference)[seen] ** 2).mean())


filtered = back_projection(few["of"], y.reshape(SIDE, -1) / few["factor"])
weights = [10.0**k for k in np.arange(-3.0, 0.6, 0.25)]
variations = [total_variation(A, y, weight) for weight in weights]
best = int(np.argmin([error(image) for image in variations]))
samples = np.load(folder / "restored/samples.npy")[0, :, 0]
mean, deviation = samples.mean(axis=0), samples.std(axis=0)
for name, image in (("filtered back-projection", filtered), (f"total variation, weight {weights[best]:.3g}, the best of {len(weights)}", variations[best]), ("EPS, mean", mean), ("EPS, a sample", samples[0])):
    residual = np.sqrt(((A @ image.ravel() - y) ** 2).mean()) / SIGMA
    print(f"{views} directions, {name}: error {error(image):.5f}, residual {residual:.2f} σ")
print(f"mean standard deviation of the samples: {deviation[seen].mean():.5f}")

panels, axes = plt.subplots(1, 7, figsize=(16, 2.75))
images = (
    (filtered, f"filtered back-\nprojection, {views}"),
    (variations[best], f"total variation,\n{views}"),
    (samples[0], f"a sample of EPS,\n{views} directions"),
    (samples[1], "another"),
    (mean, f"their mean\n({len(samples)} samples)"),
    (deviation, "their standard\ndeviation (×5)"),
    (reference, f"all {len(everything['of']['angles_degrees'])} directions,\nleast squares"),
)
for axis, (image, title) in zip(axes, images):
    gain = 5 if "deviation" in title else 1
    axis.imshow(gain * image, cmap="inferno" if gain > 1 else "gray", vmin=0, vmax=0.04)
    axis.set_title(title, fontsize=10)
    axis.axis("off")
plt.subplots_adjust(left=0.005, right=0.995, top=0.84, bottom=0.01, wspace=0.03)
panels.savefig(out, dpi=100, pil_kwargs={"quality": 88, "method": 6})

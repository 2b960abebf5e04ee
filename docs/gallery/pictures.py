"""Cuts the pictures of photographs.md out of scikit-image's, and draws their masks, into the folder that is named.

python3 -m pip install scikit-image==0.26.0 && python3 docs/gallery/pictures.py FOLDER
"""

import pathlib
import sys

import numpy as np
from skimage import data, draw, io

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)


def save(name, pixels):
    io.imsave(folder / name, pixels, check_contrast=False)


save("astronaut.png", data.astronaut()[60:188, 160:288])  # 128x128 of 512x512
save("coffee.png", data.coffee()[188:316, 190:318])  # 128x128 of 400x600
save("chelsea.png", data.chelsea()[20:276, 90:346])  # 256x256 of 300x451
save("face.png", data.astronaut()[40:200, 150:310])  # 160x160 of 512x512
save("eye.png", data.chelsea()[40:200, 110:270])  # 160x160 of 300x451

hole = np.full((128, 128), 255, np.uint8)  # white was observed
hole[44:76, 40:80] = 0  # black was not
save("hole.png", hole)


def scribbles(side, count, reach, seed):
    """A mask with curves by three points, 2 reach + 1 pixels wide."""
    mask, random = np.full((side, side), 255, np.uint8), np.random.default_rng(seed)
    for _ in range(count):
        rows, columns = draw.bezier_curve(*random.integers(0, side, 6), weight=1)
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                mask[np.clip(rows + i, 0, side - 1), np.clip(columns + j, 0, side - 1)] = 0
    return mask


save("scribbles.png", scribbles(256, 14, 2, 1))
save("scratches.png", scribbles(160, 9, 1, 3))

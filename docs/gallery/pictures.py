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

hole = np.full((128, 128), 255, np.uint8)  # white was observed
hole[44:76, 40:80] = 0  # black was not
save("hole.png", hole)

scribbles = np.full((256, 256), 255, np.uint8)
random = np.random.default_rng(1)
for _ in range(14):
    points = random.integers(0, 256, 6)  # a curve by three points
    rows, columns = draw.bezier_curve(*points, weight=1)
    for i in range(-2, 3):
        for j in range(-2, 3):
            scribbles[np.clip(rows + i, 0, 255), np.clip(columns + j, 0, 255)] = 0
save("scribbles.png", scribbles)

"""Cuts a picture of 2048x2048 pixels with scratches, scores its restoration and draws the figure.

python3 -m pip install scikit-image==0.26.0 h5py, which brings Pillow
python3 docs/gallery/large.py cut Kleiber_by_Lukas_Baubkus.jpg FOLDER
python3 docs/gallery/large.py scores FOLDER
python3 docs/gallery/large.py figure OUT.webp FOLDER/restored/image-0000 ROW,COLUMN ROW,COLUMN

ROW,COLUMN is the upper left corner of a part that is shown at full resolution. Marks beside a part are at lines where windows of 256x256 pixels end at every call.
"""

import pathlib
import sys

import h5py
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import draw, io

SIDE, WINDOW = 2048, 256  # pixels
WIDTH, GAP, LINE = 1400, 8, 26  # pixels of the figure


def cut(picture, folder):
    """bird.png, and scratches.png with 40 curves of five pixels, each by three points."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    io.imsave(folder / "bird.png", io.imread(picture)[700 : 700 + SIDE, 1500 : 1500 + SIDE], check_contrast=False)
    seen = np.full((SIDE, SIDE), 255, np.uint8)  # white was observed
    random = np.random.default_rng(1)
    for _ in range(40):
        rows, columns = draw.bezier_curve(*random.integers(0, SIDE, 6), weight=1)
        for i in range(-2, 3):
            for j in range(-2, 3):
                seen[np.clip(rows + i, 0, SIDE - 1), np.clip(columns + j, 0, SIDE - 1)] = 0
    io.imsave(folder / "scratches.png", seen, check_contrast=False)
    print(f"{(seen == 0).mean():.3f} of the pixels are missing")


def scores(folder):
    """PSNR of what was measured and of the sample, where pixels were seen and under the scratches."""
    folder = pathlib.Path(folder)
    with h5py.File(folder / "bird" / "samples.h5") as restored, h5py.File(folder / "bird.h5") as measured:
        sample, truth, y = restored["samples"][0, 0].clip(-1, 1), restored["truth"][0], measured["y"][0]
    seen = np.broadcast_to(io.imread(folder / "scratches.png") > 0, y.shape)
    for what, image, where in (("measured, seen", y, seen), ("sample, seen", sample, seen), ("sample, scratched", sample, ~seen)):
        print(f"{what}: {-10 * np.log10(np.mean((image[where].astype(float) - truth[where]) ** 2) / 4):.1f} dB")


def figure(out, folder, *corners):
    """Measurement and sample: small, and parts of both."""
    folder, corners = pathlib.Path(folder), [tuple(map(int, corner.split(","))) for corner in corners]
    pictures = {
        "measured": Image.open(folder / "measurement.png").convert("RGB"),
        "one sample": Image.open(folder / "sample-000.png").convert("RGB"),
    }
    small, cell = (WIDTH - GAP) // 2, (WIDTH - 3 * GAP) // 4
    whole = Image.new("RGB", (WIDTH, 2 * LINE + small + (len(corners) + 1) // 2 * (cell + GAP)), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(17)
    for column, (title, picture) in enumerate(pictures.items()):
        left = column * (small + GAP)
        pen.text((left + small / 2, LINE / 2), title, "black", font, anchor="mm")
        whole.paste(picture.resize((small, small), Image.Resampling.LANCZOS), (left, LINE))
        for number, (row, start) in enumerate(corners):
            at, top = left + number % 2 * (cell + GAP), 2 * LINE + small + number // 2 * (cell + GAP)
            whole.paste(picture.crop((start, row, start + cell, row + cell)), (at, top))
            for line in (WINDOW, SIDE - WINDOW):
                if start < line < start + cell:
                    pen.line([(at + line - start, top - 9), (at + line - start, top - 1)], "red", 2)
                if row < line < row + cell:
                    pen.line([(at + cell, top + line - row), (at + cell + GAP, top + line - row)], "red", 2)
            corner = (left + start * small / SIDE, LINE + row * small / SIDE)
            pen.rectangle([corner, tuple(place + cell * small / SIDE for place in corner)], outline="red")
    whole.save(out, quality=62, method=6)


if __name__ == "__main__":
    {"cut": cut, "scores": scores, "figure": figure}[sys.argv[1]](*sys.argv[2:])

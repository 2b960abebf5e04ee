"""Puts restorations of `eps restore` into one figure, a row each, for every picture that has the folder image-0000.

python3 docs/gallery/figure.py OUT.webp "title of the row=restored/image-0000" ...
"""

import pathlib
import sys

from PIL import Image, ImageDraw, ImageFont

COLUMNS = {
    "measurement": "measured",
    "sample-000": "one sample",
    "mean": "mean of 8 samples",
    "standard-deviation": "standard deviation",
    "truth": "truth",
}
SIDE, GAP, LINE = 192, 6, 26  # pixels: of a picture, between pictures, of a line of text

out, rows = sys.argv[1], [row.rsplit("=", 1) for row in sys.argv[2:]]
width = len(COLUMNS) * (SIDE + GAP) - GAP
figure = Image.new("RGB", (width, LINE + len(rows) * (LINE + SIDE + GAP) - GAP), "white")
pen, font = ImageDraw.Draw(figure), ImageFont.load_default(17)
for column, title in enumerate(COLUMNS.values()):
    pen.text((column * (SIDE + GAP) + SIDE / 2, LINE / 2), title, "black", font, anchor="mm")
for row, (title, folder) in enumerate(rows):
    top = LINE + row * (LINE + SIDE + GAP)
    pen.text((0, top + LINE / 2), title, "#555555", font, anchor="lm")
    for column, name in enumerate(COLUMNS):
        picture = Image.open(pathlib.Path(folder) / f"{name}.png").convert("RGB")
        picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        figure.paste(picture, (column * (SIDE + GAP), top + LINE))
figure.save(out, quality=90)

"""Writes the files of other programs that the tests read.

Run with h5py 3.16, hdf5plugin 7.1, Pillow 13 and NumPy 2.4: python write_files.py files
"""

import json
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from PIL import Image

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
ramp = np.arange(12, dtype="f4").reshape(1, 1, 3, 4) / 8 - 1


def write(name, fill):
    with h5py.File(folder / name, "w") as file:
        fill(file)


def measurement(file, text=str, one=lambda value: value):
    for name, value in {
        "format": "eps-measurements",
        "operator": json.dumps({"operator": "mask"}),
        "name": "ramp",
        "source": "h5py",
        "licence": "CC0-1.0",
        "sha256": "",
    }.items():
        file.attrs[name] = one(text(value))
    for name, value in {"format_version": 1, "sigma_y": 0.05, "channels": 1, "height": 3, "width": 4}.items():
        file.attrs[name] = one(value)
    file["y"] = ramp
    file["mask"] = (np.arange(12).reshape(1, 3, 4) % 3) > 0


write("lzf.h5", lambda f: f.create_dataset("y", data=ramp, compression="lzf"))
write("blosc.h5", lambda f: f.create_dataset("y", data=ramp, **hdf5plugin.Blosc()))
write("half.h5", lambda f: f.create_dataset("y", data=ramp.astype("f2")))
write("boolean.h5", lambda f: f.create_dataset("mask", data=(np.arange(12).reshape(3, 4) % 3) > 0))
write("other-format.h5", lambda f: (f.attrs.__setitem__("format", "a detector's"), f.create_dataset("y", data=ramp)))
write("format-number.h5", lambda f: (f.attrs.__setitem__("format", 3), f.create_dataset("y", data=ramp)))
write("texts.h5", measurement)
write("ascii.h5", lambda f: measurement(f, text=np.bytes_))
write("one-element.h5", lambda f: measurement(f, text=np.bytes_, one=lambda value: np.array([value])))
with h5py.File(folder / "virtual.h5", "w") as file:
    layout = h5py.VirtualLayout(shape=(1, 1, 3, 4), dtype="f4")
    layout[:] = h5py.VirtualSource("half.h5", "y", shape=(1, 1, 3, 4))
    file.create_virtual_dataset("y", layout)

# 16 x 8 pixels, the upper left quarter bright.
picture = np.full((8, 16), 30, "u1")
picture[:4, :8] = 220
for orientation in range(1, 9):
    image = Image.fromarray(picture)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(folder / f"turned-{orientation}.jpg", exif=exif, quality=95)
    if orientation == 6:
        image.save(folder / "turned-6.png", exif=exif)
        image.save(folder / "turned-6.webp", exif=exif, lossless=True)
Image.fromarray((np.arange(12, dtype="u2").reshape(3, 4) * 372 + 3).astype("u2")).save(folder / "twelve-bits.png")
Image.fromarray((np.arange(12).reshape(3, 4) % 2).astype("u1")).save(folder / "ones.png")
np.save(folder / "boolean.npy", np.arange(12).reshape(3, 4) % 2 == 1)
np.save(folder / "bayer.npy", np.stack([np.eye(4, dtype=bool), ~np.eye(4, dtype=bool), np.eye(4, dtype=bool)]))

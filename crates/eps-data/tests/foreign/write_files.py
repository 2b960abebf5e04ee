"""Writes the files of other programs that the tests read.

Run with h5py 3.16, hdf5plugin 7.1, Pillow 13, SciPy 1.17, tifffile 2026 and NumPy 2.4: python write_files.py files
"""

import json
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import scipy.io
import tifffile
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

# The test computes the same: 3 x 5 pixels of three channels, and a fourth that is full.
row, column, channel = np.mgrid[:3, :5, :3]
rgb = ((row * 83 + column * 31 + channel * 67) % 256).astype("u1")
grey = rgb[..., 0]
rgba = np.concatenate([rgb, np.full((3, 5, 1), 255, "u1")], axis=2)
deep = rgb.astype("u2") * 256 + 7


def tiff(name, values, **how):
    photometric = how.pop("photometric", "rgb" if values.ndim == 3 else "minisblack")
    tifffile.imwrite(folder / name, values, photometric=photometric, metadata=None, **how)


image = Image.fromarray(picture)
image.save(folder / "turned-6.tif", tiffinfo={0x0112: 6})
Image.fromarray(grey).save(folder / "grey.tif")
Image.fromarray(rgb).save(folder / "rgb-lzw.tif", compression="tiff_lzw")
Image.fromarray(rgb).save(folder / "rgb-packbits.tif", compression="packbits")
Image.fromarray(rgba).save(folder / "rgba-deflate.tif", compression="tiff_adobe_deflate")
Image.fromarray(np.stack([grey, grey * 0 + 255], axis=2)).save(folder / "grey-alpha.tif")
Image.fromarray((np.arange(12).reshape(3, 4) % 2) == 1).save(folder / "mask.tif")
tiff("grey-16.tif", deep[..., 0])
tiff("rgb-16-big-endian.tif", deep, byteorder=">", predictor=True, compression="zlib")
tiff("rgb-big-tiff.tif", rgb, bigtiff=True)
tiff("rgb-planes.tif", np.moveaxis(rgb, 2, 0), planarconfig="separate")
tiff("rgb-tiles.tif", rgb, tile=(16, 16))
tiff("grey-white-is-zero.tif", 255 - grey, photometric="miniswhite")
tiff("thumbnail.tif", rgb)
tifffile.imwrite(folder / "thumbnail.tif", rgb[::2, ::2], photometric="rgb", subfiletype=1, append=True, metadata=None)
tiff("two-pages.tif", np.stack([grey, grey]), photometric="minisblack")
tiff("float.tif", grey.astype("f4"))
tiff("clear.tif", np.concatenate([rgb, rgb[..., :1]], axis=2), extrasamples=["unassalpha"])
Image.fromarray(rgb).convert("CMYK").save(folder / "cmyk.tif")

Image.fromarray(grey).save(folder / "grey.bmp")
Image.fromarray(rgb).save(folder / "rgb.bmp")
Image.fromarray(rgba).save(folder / "rgba.bmp")
Image.fromarray((np.arange(12).reshape(3, 4) % 2) == 1).save(folder / "mask.bmp")
palette = Image.fromarray(np.arange(15, dtype="u1").reshape(3, 5), mode="P")
palette.putpalette(rgb.tobytes())
palette.save(folder / "palette.bmp")
# The same from the top down, and with the header of OS/2.
content = bytearray((folder / "rgb.bmp").read_bytes())
content[22:26] = (-3).to_bytes(4, "little", signed=True)
stride = 16
rows = [content[54 + i * stride : 54 + (i + 1) * stride] for i in range(3)]
(folder / "rgb-top-down.bmp").write_bytes(content[:54] + b"".join(reversed(rows)))
header = b"BM" + (26 + 48).to_bytes(4, "little") + bytes(4) + (26).to_bytes(4, "little")
header += (12).to_bytes(4, "little") + b"".join(n.to_bytes(2, "little") for n in (5, 3, 1, 24))
(folder / "rgb-os2.bmp").write_bytes(header + b"".join(rows))
# Colours by masks, red first, with transparency.
header = b"BM" + bytes(8) + (122).to_bytes(4, "little")
header += b"".join(n.to_bytes(4, "little") for n in (108, 5, 3, 1 + (32 << 16), 3, 0, 0, 0, 0, 0))
header += b"".join((255 << shift).to_bytes(4, "little") for shift in (0, 8, 16, 24)) + bytes(52)
(folder / "rgba-fields.bmp").write_bytes(header + rgba[::-1].tobytes())
(folder / "clear.bmp").write_bytes(header + (rgba // 2)[::-1].tobytes())

# Two kernels in a cell, and a complex array, as MATLAB keeps them: version 5, compressed and not, and version 7.3.
cell = np.empty((2, 1), dtype=object)
cell[0, 0] = np.arange(6.0).reshape(2, 3) / 8
cell[1, 0] = np.arange(4.0).reshape(2, 2) / 4
complex_array = (np.arange(12.0) - 3j * np.arange(12)).reshape(2, 3, 2)
scipy.io.savemat(folder / "kernels.mat", {"kernels": cell, "title": "two"}, do_compression=True)
scipy.io.savemat(folder / "complex.mat", {"y": complex_array.astype("c8")})
write("complex.h5", lambda f: f.create_dataset("y", data=complex_array.astype("c8")))
np.save(folder / "complex.npy", np.asfortranarray(complex_array.astype(">c16")))
np.save(folder / "complex-plane.npy", complex_array[0].astype("c8"))
with h5py.File(folder / "kernels-73.mat", "w", userblock_size=512) as file:
    names = [f"#refs#/{letter}" for letter in "ba"]
    for name, kernel in zip(names, cell[:, 0]):
        # MATLAB's columns are HDF5's rows.
        file[name] = kernel.T
    references = file.create_dataset("kernels", (1, 2), dtype=h5py.ref_dtype)
    references[0] = [file[name].ref for name in names]
with open(folder / "kernels-73.mat", "r+b") as file:
    file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
with h5py.File(folder / "complex-73.mat", "w", userblock_size=512) as file:
    turned = np.ascontiguousarray(complex_array.T.astype("c16"))
    file["y"] = turned.view([("real", "f8"), ("imag", "f8")])
with open(folder / "complex-73.mat", "r+b") as file:
    file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")

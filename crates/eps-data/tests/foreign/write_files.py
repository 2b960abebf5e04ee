"""Writes the files of other programs that the tests read.

Run with h5py 3.16, hdf5plugin 7.1, Pillow 13, SciPy 1.17, tifffile 2026, nibabel 5.4, pydicom 3.0, imagecodecs 2026 and NumPy 2.4: python write_files.py files
"""

import json
import sys
from pathlib import Path

import h5py
import hdf5plugin
import imagecodecs
import nibabel
import numpy as np
import pydicom
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
# A fourth value, of which the file does not say what it is.
tifffile.imwrite(folder / "extra.tif", rgba, photometric="rgb", extrasamples=["unspecified"])

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


# Scans. Of the volume v[x, y, z] = x + 10 y + 100 z, in 3 columns, 4 rows and 2 slices.
volume = np.arange(3)[:, None, None] + 10 * np.arange(4)[None, :, None] + 100 * np.arange(2)[None, None, :]


def nifti(name, values, kind=nibabel.Nifti1Image, scale=(1, 0), order="<"):
    """Stored values, with the slope and the offset by which they become those of the scan."""
    header = kind.header_class(endianness=order)
    header.set_data_dtype(values.dtype.newbyteorder(order))
    image = kind(values, np.eye(4), header)
    image.header.set_slope_inter(*scale)
    image.to_filename(folder / name)


nifti("scan.nii", volume.astype("i2"))
nifti("scan.nii.gz", volume.astype("f4"))
nifti("big-endian.nii", volume.astype("i4"), order=">", scale=(0.5, -7))
nifti("slice.nii", volume[..., :1].astype("u1"))
nifti("series.nii", np.stack([volume, volume + 1000], axis=-1).astype("f8"))
nifti("complex.nii", (volume - 1j * volume).astype("c8"))
nifti("second.nii", volume.astype("i2"), kind=nibabel.Nifti2Image)
nifti("colours.nii", np.zeros((3, 4), dtype=[(c, "u1") for c in "RGB"]))
nifti("pair.hdr", volume.astype("i2"), kind=nibabel.Nifti1Pair)
(folder / "pair.img").unlink()
(folder / "pair.hdr").rename(folder / "pair.nii")


def dicom(name, values, colours="MONOCHROME2", bits=12, compressed=None, **tags):
    """Values [H, W] or [N, H, W] of a CT scan."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    if values.ndim == 3:
        dataset.NumberOfFrames = len(values)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, colours
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.BitsAllocated = 8 * values.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelData = values.tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    if compressed:
        dataset.compress(compressed, generate_instance_uid=False)
    dataset.save_as(folder / name, enforce_file_format=True)


scan = volume[..., 0].T
hounsfield = {"RescaleSlope": "0.5", "RescaleIntercept": "-1000"}
dicom("ct.dcm", (scan - 20).astype("i2"), **hounsfield)
dicom("1.2.840", (scan + 2000).astype("u2"), **hounsfield)
dicom("frames.dcm", np.moveaxis(volume, -1, 0).swapaxes(1, 2).astype("u2"), compressed=pydicom.uid.RLELossless)
dicom("inverted.dcm", scan.astype("u1"), colours="MONOCHROME1", bits=8, LossyImageCompression="01")
dicom("palette.dcm", scan.astype("u1"), colours="PALETTE COLOR", bits=8)
dicom("dose.dcm", scan.astype("u4"), bits=32)
dicom("report.dcm", scan.astype("u2"))
report = pydicom.dcmread(folder / "report.dcm")
del report.PixelData
report.save_as(folder / "report.dcm")
lossless = pydicom.dcmread(folder / "1.2.840")
lossless.PixelData = pydicom.encaps.encapsulate([imagecodecs.ljpeg_encode(lossless.pixel_array)])
lossless.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
lossless["PixelData"].VR = "OB"
lossless.save_as(folder / "jpeg-lossless.dcm")
foreign_syntax = pydicom.dcmread(folder / "ct.dcm")
foreign_syntax.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
foreign_syntax.PixelData = pydicom.encaps.encapsulate([bytes(8)])
foreign_syntax["PixelData"].VR = "OB"
foreign_syntax.save_as(folder / "jpeg-2000.dcm")

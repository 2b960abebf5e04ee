"""Writes golden.json: small pictures resized and decoded by Pillow 13.0.0.

    python golden.py
"""

import io
import json

from PIL import Image


def picture(width, height, channels):
    values = [(i * 97 + i * i // 7) % 256 for i in range(width * height * channels)]
    mode = "RGB" if channels == 3 else "L"
    return Image.frombytes(mode, (width, height), bytes(values))


def smooth(width, height):
    values = [(8 * x % 256, 9 * y % 256, (4 * x + 3 * y) % 256) for y in range(height) for x in range(width)]
    return Image.frombytes("RGB", (width, height), bytes(v for pixel in values for v in pixel))


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def cmyk(transform, image=smooth(20, 17), subsampling=0):
    """A JPEG of four channels. Pillow writes transform 0 (CMYK); 2 makes the first three YCbCr (YCCK)."""
    content = encoded(image.convert("CMYK"), "JPEG", quality=95, subsampling=subsampling)
    marker = content.index(b"Adobe")
    return content[:marker + 11] + bytes([transform]) + content[marker + 12:]


resized = []
for width, height, channels, new_width, new_height in [
    (37, 29, 3, 8, 8),
    (29, 37, 3, 13, 11),
    (12, 9, 3, 20, 15),
    (211, 97, 1, 16, 12),
    (64, 64, 1, 9, 64),
]:
    image = picture(width, height, channels).resize((new_width, new_height), Image.LANCZOS)
    resized.append({
        "size": [width, height, channels],
        "new": [new_width, new_height],
        "bytes": list(image.tobytes()),
    })

decoded = []
for name, content in [
    ("rgb.jpg", encoded(smooth(20, 17), "JPEG", quality=95, subsampling=0)),
    ("progressive.jpg", encoded(smooth(20, 17), "JPEG", quality=95, subsampling=0, progressive=True)),
    ("grey.jpg", encoded(smooth(20, 17).convert("L"), "JPEG", quality=95)),
    ("420.jpg", encoded(smooth(43, 37), "JPEG", quality=90, subsampling=2)),
    ("420-progressive.jpg", encoded(smooth(43, 37), "JPEG", quality=90, subsampling=2, progressive=True)),
    ("422.jpg", encoded(smooth(43, 37), "JPEG", quality=90, subsampling=1)),
    ("422-progressive.jpg", encoded(smooth(43, 37), "JPEG", quality=90, subsampling=1, progressive=True)),
    # Without a pattern, of an even width that ends inside a block.
    ("420-even.jpg", encoded(picture(40, 33, 3), "JPEG", quality=90, subsampling=2)),
    ("422-even.jpg", encoded(picture(40, 17, 3), "JPEG", quality=90, subsampling=1)),
    ("cmyk.jpg", cmyk(0)),
    ("ycck.jpg", cmyk(2)),
    ("420-ycck.jpg", cmyk(2, smooth(43, 37), 2)),
    ("lossless.webp", encoded(smooth(20, 17), "WEBP", lossless=True)),
    ("lossy.webp", encoded(smooth(20, 17), "WEBP", quality=90)),
]:
    image = Image.open(io.BytesIO(content))
    if image.mode == "CMYK":
        image = image.convert("RGB")
    channels = len(image.getbands())
    decoded.append({
        "name": name,
        "size": [image.width, image.height, channels],
        "file": list(content),
        "bytes": list(image.tobytes()),
    })

golden = {
    "resized": resized,
    "decoded": decoded,
}
with open("golden.json", "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")

"""Makes the encoded images in images/, with Pillow 13 and jpegtran of libjpeg-turbo 2.1.

    python make_images.py
"""

import io
import os
import subprocess

from PIL import Image

WIDTH, HEIGHT = 37, 21
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")


def picture(mode="RGB"):
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.putdata([(6 * x, 11 * y, (x * x + 7 * y) % 256) for y in range(HEIGHT) for x in range(WIDTH)])
    return image.convert(mode)


def write(name, data):
    with open(os.path.join(OUT, name), "wb") as file:
        file.write(data)


def jpeg(image, **options):
    data = io.BytesIO()
    image.save(data, "JPEG", **{"quality": 80, **options})
    return data.getvalue()


def jpegtran(data, *options):
    return subprocess.run(["jpegtran", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def thumbnail():
    """A picture whose EXIF segment holds another whole JPEG file, with markers of its own."""
    small = jpeg(picture().resize((16, 9)))
    tiff = b"II*\0\x08\0\0\0" + b"\0\0" + b"\x0e\0\0\0" + b"\x02\0"
    tiff += b"\x01\x02\x04\0\x01\0\0\0" + (44).to_bytes(4, "little")
    tiff += b"\x02\x02\x04\0\x01\0\0\0" + len(small).to_bytes(4, "little") + b"\0\0\0\0"
    return jpeg(picture(), exif=b"Exif\0\0" + tiff.ljust(44, b"\0") + small)


def main():
    os.makedirs(OUT, exist_ok=True)
    write("baseline.jpg", jpeg(picture()))
    write("optimized-444.jpg", jpeg(picture(), subsampling=0, optimize=True))
    write("progressive.jpg", jpeg(picture(), progressive=True))
    write("gray.jpg", jpeg(picture("L")))
    write("gray-progressive.jpg", jpeg(picture("L"), progressive=True))
    write("cmyk.jpg", jpeg(picture("CMYK")))
    write("restarts.jpg", jpeg(picture(), restart_marker_blocks=2))
    write("restarts-progressive.jpg", jpeg(picture(), progressive=True, restart_marker_blocks=1))
    write("scans.jpg", jpegtran(jpeg(picture()), "-scans", os.path.join(OUT, "..", "scans.txt")))
    write("thumbnail.jpg", thumbnail())
    for name, mode, options in [
        ("lossy.webp", "RGB", {"quality": 80}),
        ("lossless.webp", "RGB", {"lossless": True}),
    ]:
        data = io.BytesIO()
        picture(mode).save(data, "WEBP", **options)
        write(name, data.getvalue())


if __name__ == "__main__":
    main()

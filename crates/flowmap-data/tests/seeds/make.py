"""Writes the seeds of the fuzz targets with NumPy and Pillow; run once, the results are committed."""

import io
import os
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image

table = (np.arange(12.0).reshape(6, 2) * 0.37) ** 2 - 1


def put(name, data):
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as file:
        file.write(data)


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(pack, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if pack else np.savez)(file, **arrays)
    return file.getvalue()


rows = [f"{a:.3f},{b:.3f}" for a, b in table]
texts = {
    "plain": rows,
    "names": ["x,y"] + rows,
    "numbers-as-names": ["2019,2020"] + rows,
    "index": [",x,y"] + [f"{i},{row}" for i, row in enumerate(rows)],
    "labels": ["x,y,label"] + [f"{row},{i % 3}" for i, row in enumerate(rows)],
    "words": ["x,label"] + [f"{i}.5,{'cat' if i % 2 else 'dog'}" for i in range(6)],
    "quotes": ['"x","the ""y"", really"'] + [f'"{a:.3f}",{b:.3f}' for a, b in table],
    "semicolons": ["sep=;", "x;y"] + [row.replace(",", ";").replace(".", ",") for row in rows],
    "tabs": [row.replace(",", "\t") + "\t" for row in rows],
    "blanks": ["# x y", ""] + [row.replace(",", "  ") for row in rows],
    "rownames": ["x y"] + [f"r{i} " + row.replace(",", " ") for i, row in enumerate(rows)],
    "split-decimals": ["0,5127", "-0,0512", "1,0007"],
    "names-again": ["x,y"] + rows[:2] + ["x,y"] + rows[2:],
    "missing": ["x,y", "1,NA", "2,"],
    "open-quote": ['1,"2', "3,4"],
}
for name, lines in texts.items():
    put(f"csv/{name}", "\n".join(lines).encode())
put("csv/byte-order-mark", b"\xef\xbb\xbf" + "\r\n".join(["x,y"] + rows).encode())
put("csv/old-lines", "\r".join(["x,y"] + rows).encode())
put("csv/utf-16", "\n".join(rows).encode("utf-16"))

for kind in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]:
    put(f"npy/{kind}", npy((table * 8 + 9).astype(f"<{kind}")))
put("npy/big-endian", npy(table.astype(">f8")))
put("npy/fortran", npy(np.asfortranarray(table)))
put("npy/truth", npy(table > 0))
put("npy/bfloat16", npy(table.astype("<f4")).replace(b"<f4", b"<V2")[:128] + table.astype("<f4").tobytes()[:24])
put("npy/complex", npy(table.astype("<c8")))
put("npy/objects", npy(np.array([None, 1.5])))
put("npy/records", npy(np.zeros(3, dtype=[("a", "<f4"), ("b", "<i4")])))
put("npy/images", npy(np.arange(2 * 3 * 4 * 4, dtype="u1").reshape(2, 3, 4, 4)))
put("npy/line", npy(table[:, 0]))
put("npy/scalar", npy(np.float32(3)))
put("npy/empty", npy(np.zeros((0, 2))))

labels = np.array([0, 1, 2, 0, 1, 2])
images = (np.arange(6 * 4 * 4 * 3) % 251).astype("u1").reshape(6, 4, 4, 3)
put("npz/stored", npz(False, samples=table.astype("f4"), labels=labels))
put("npz/packed", npz(True, samples=table, noise=-table, labels=labels))
put("npz/nameless", npz(True, arr_0=images, arr_1=labels))
put("npz/images", npz(True, images=images.transpose(0, 3, 1, 2), y=labels))
put("npz/latents", npz(True, latents=images.transpose(0, 3, 1, 2).astype("f2"), labels=labels))
put("npz/posteriors", npz(True, mean=np.ones((2, 1, 2, 2), "f4"), std=np.ones((2, 1, 2, 2), "f4")))
file = io.BytesIO()
with zipfile.ZipFile(file, "w") as archive:
    with archive.open("samples.npy", "w", force_zip64=True) as member:
        member.write(npy(table))
put("npz/wide", file.getvalue())

put("idx/plain", struct.pack(">4B3I", 0, 0, 8, 3, 2, 2, 3) + bytes(range(12)))
put("idx/labels", struct.pack(">4BI", 0, 0, 8, 1, 2) + b"\1\2")
put("idx/cut", struct.pack(">4B3I", 0, 0, 8, 3, 3, 2, 3) + bytes(range(15)))


def picture(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


color = (np.arange(8 * 8 * 3) * 5 % 256).astype("u1").reshape(8, 8, 3)
turned = Image.Exif()
turned[0x0112] = 6
put("jpeg/baseline", picture(color, "JPEG", quality=30))
put("jpeg/progressive", picture(color, "JPEG", quality=30, progressive=True))
put("jpeg/turned", picture(color, "JPEG", quality=30, exif=turned))
put("jpeg/gray", picture(color[:, :, 0], "JPEG", quality=30))
put("jpeg/cut", picture(color, "JPEG", quality=30)[:-20])

for form, name in [(tarfile.USTAR_FORMAT, "ustar"), (tarfile.GNU_FORMAT, "gnu"), (tarfile.PAX_FORMAT, "pax")]:
    file = io.BytesIO()
    folder = "long/" * (1 if name == "ustar" else 25)
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for i in range(2):
            for ending, data in [("png", picture(color, "PNG")), ("cls", str(i).encode())]:
                member = tarfile.TarInfo(f"{folder}{i}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    whole = file.getvalue().rstrip(b"\0")
    put(f"tar/{name}", whole + bytes(-len(whole) % 512 + 1024))

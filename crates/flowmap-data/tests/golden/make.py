"""Writes the files beside it with NumPy 2.4.6; run once, the results are committed."""

import numpy as np

table = np.arange(12.0).reshape(6, 2) / 4 - 1
images = np.arange(2 * 1 * 3 * 2, dtype="<f4").reshape(2, 1, 3, 2)
np.save("c-f4.npy", table.astype("<f4"))
np.save("fortran-big-f8.npy", np.asfortranarray(table.astype(">f8")))
np.save("line-f8.npy", table[:, 0].astype("<f8"))
np.save("fortran-images-f4.npy", np.asfortranarray(images))
np.save("integers.npy", np.arange(6))
np.savez_compressed(
    "flowmap.npz",
    samples=table.astype("<f4"),
    noise=-table.astype("<f4"),
    labels=np.array([0, 1, 2, 0, 1, 2], dtype="<i8"),
)
np.savez("stored.npz", points=table)
np.savez("several.npz", a=table, b=table)
np.savez("labelled.npz", points=table, classes=np.arange(6, dtype=np.uint8))

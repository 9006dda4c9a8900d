#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the .npy and .npz files that the tests read, next to itself. Made with NumPy 1.24.2."""
import io
import os
import warnings
import zipfile

import numpy as np
from numpy.lib import format as npy

FOLDER = os.path.dirname(os.path.abspath(__file__))
VALUES = np.array([1.5, -0.25, 3.0e38, 1.0e-45, -0.0, 7.0], dtype="<f4")
MATRIX = VALUES.reshape(2, 3)
CUBE = np.arange(24, dtype="<f4").reshape(2, 3, 4)
BIAS = np.array([0.5, -1.0, 2.0], dtype="<f4")


def path(name):
    return os.path.join(FOLDER, name)


def content(array, version=(1, 0)):
    file = io.BytesIO()
    npy.write_array(file, array, version=version)
    return file.getvalue()


def write(name, array, version=(1, 0)):
    with open(path(name), "wb") as file:
        file.write(content(array, version))


def write_zip(name, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path(name), "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for member, data in members:
            archive.writestr(zipfile.ZipInfo(member), data, compression)


write("vector.npy", VALUES)
write("matrix_v2.npy", MATRIX, version=(2, 0))
write("scalar.npy", np.array(1.5, dtype="<f4"))
write("empty.npy", np.zeros((0,), dtype="<f4"))
write("fortran.npy", np.asfortranarray(MATRIX))
write("fortran_cube.npy", np.asfortranarray(CUBE))
write("fortran_big_float64.npy", np.asfortranarray(MATRIX.astype(">f8")))
write("float64.npy", np.array([0.1, 1 + 2.0**-24, 1 + 3 * 2.0**-24, -1e-300, np.inf], dtype="<f8"))
write("float64_large.npy", np.array([1.0, -1e39], dtype="<f8"))
write("float16.npy", np.array([0.1, 65504, 6e-8, -np.inf], dtype="<f2"))
write("big_float16.npy", np.array([0.1, 65504, 6e-8, -np.inf], dtype=">f2"))
write("big_endian.npy", VALUES.astype(">f4"))
write("version_3.npy", VALUES, version=(3, 0))
write("int64.npy", np.arange(6))
write("bool.npy", np.array([True, False]))
write("complex.npy", np.array([1j], dtype="<c8"))
write("text.npy", np.array(["abc"]))
write("bfloat16.npy", np.zeros(3, dtype="V2"))
write("record.npy", np.zeros(2, dtype=[("x", "<f4"), ("y", "<f4")]))
write("object.npy", np.array([None, {}], dtype=object))
write("longdouble.npy", np.zeros(2, dtype="<f16"))

np.savez(path("stored.npz"), w=MATRIX, b=BIAS)
np.savez_compressed(path("deflated.npz"), b=BIAS, w=np.asfortranarray(MATRIX.astype(">f8")))
np.savez(path("missing.npz"), w=MATRIX)
np.savez(path("unknown.npz"), w=MATRIX, b=BIAS, c=BIAS)
np.savez(path("transposed.npz"), w=MATRIX.T, b=BIAS)
np.savez(path("ints.npz"), w=MATRIX, b=np.arange(3))
write_zip("twice.npz", [("w.npy", content(MATRIX)), ("b.npy", content(BIAS)),
                        ("w.npy", content(MATRIX))])
write_zip("no_npy.npz", [("w.npy", content(MATRIX)), ("b.txt", b"0.5 -1 2")])
# A member that ends early, and one that unpacks to far more than its shape says.
write_zip("short.npz", [("w.npy", content(MATRIX)[:-1]), ("b.npy", content(BIAS))])
write_zip("bomb.npz", [("w.npy", content(MATRIX) + bytes(1 << 24)), ("b.npy", content(BIAS))],
          zipfile.ZIP_DEFLATED)
write_zip("folders.npz", [("layer/", b""), ("layer/w.npy", content(MATRIX))])

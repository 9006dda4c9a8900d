#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the .npy files that npy_test.cc reads, next to itself. Made with NumPy 1.24.2."""
import os

import numpy as np
from numpy.lib import format as npy

FOLDER = os.path.dirname(os.path.abspath(__file__))
VALUES = np.array([1.5, -0.25, 3.0e38, 1.0e-45, -0.0, 7.0], dtype="<f4")


def write(name, array, version=(1, 0)):
    with open(os.path.join(FOLDER, name), "wb") as file:
        npy.write_array(file, array, version=version)


write("vector.npy", VALUES)
write("matrix_v2.npy", VALUES.reshape(2, 3), version=(2, 0))
write("scalar.npy", np.array(1.5, dtype="<f4"))
write("empty.npy", np.zeros((0,), dtype="<f4"))
write("fortran.npy", np.asfortranarray(VALUES.reshape(2, 3)))
write("float64.npy", VALUES.astype("<f8"))
write("big_endian.npy", VALUES.astype(">f4"))
write("version_3.npy", VALUES, version=(3, 0))

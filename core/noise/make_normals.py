#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes normal_vectors.json: words, and the numbers they must become, from NumPy alone.

This is a second implementation of normal.h: it shares no code with the C++, and finds mantissa,
exponent and quadrant in another way. Run it in this folder; `--check` only compares.
"""
import json
import pathlib
import sys

import numpy as np

PATH = pathlib.Path(__file__).with_name("normal_vectors.json")
F = np.float32
MASK = 0xFFFFFFFF


def philox(counter, key):
    """Ten rounds on Python's own integers."""
    c, k = list(counter), list(key)
    for number in range(10):
        if number:
            k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
        high0, low0 = divmod(0xD2511F53 * c[0], 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 1 << 32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
    return c


def horner(x, coefficients):
    value = np.full_like(x, F(coefficients[0]))
    for coefficient in coefficients[1:]:
        value = value * x + F(coefficient)
    return value


def log_of_share(k):
    """log(k / 2^31) of float32 whole numbers."""
    mantissa, exponent = np.frexp(k)  # in [1/2, 1)
    low = mantissa < np.array(0x3F3504F3, np.uint32).view(np.float32)
    mantissa = np.where(low, mantissa * F(2), mantissa)
    e = (exponent - low - 31).astype(np.float32)
    f = mantissa - F(1)
    p = horner(f, [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1,
                   1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1,
                   3.3333331174e-1])
    rest = p * f * (f * f)
    rest = rest - e * F(2.12194440e-4)
    rest = rest - F(0.5) * (f * f)
    return (f + rest) + e * F(0.693359375)


def box_muller(a, b):
    """Two normals of each pair of words; int64 arrays of 32-bit words."""
    k = (a // 2 | 1).astype(np.float32)
    radius = np.sqrt(F(-2) * log_of_share(k))
    # The nearest multiple of a quarter turn, and the signed rest in the middle of its cell.
    quadrant = (b + 2**29) // 2**30
    rest = b - quadrant * 2**30
    y = (rest * 4 + 2).astype(np.float32) * F(np.float64(F(np.pi / 2)) / 2**32)
    square = y * y
    sine = horner(square, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]) * square * y + y
    cosine = horner(square, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2,
                             -0.5, 1.0])
    turns = quadrant % 4
    turned = [np.choose(turns, [cosine, -sine, -cosine, sine]),
              np.choose(turns, [sine, cosine, -sine, -cosine])]
    return radius * turned[0], radius * turned[1]


def rows():
    corners = [0x00000000, 0x00000001, 0x00000002, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
               0xFFFFFFC0, 0xFFFFFF7E,  # the radius: around the words that round to 2^31
               0x16A09E66, 0x5A827998, 0x5A827999, 0xB504F332, 0xB504F334]  # around sqrt(1/2)
    edges = [word for quarter in range(4) for offset in (0, 2**29)
             for word in (quarter * 2**30 + offset - 1, quarter * 2**30 + offset)]
    corners += [word & MASK for word in edges if word & MASK not in corners]
    pairs = [(a, b) for a in corners for b in corners]
    pairs += [(0, 0)] * (len(pairs) % 2)
    words = [[*pairs[i], *pairs[i + 1]] for i in range(0, len(pairs), 2)]
    words += [philox([block, 1 << 16, 0, 0], [42, 0]) for block in range(128)]
    return words


def text():
    words = rows()
    array = np.array(words, np.int64)
    normals = np.stack([*box_muller(array[:, 0], array[:, 1]),
                        *box_muller(array[:, 2], array[:, 3])], axis=1)
    assert normals.dtype == np.float32 and np.isfinite(normals).all()
    bits = normals.view(np.uint32)
    lines = [json.dumps([[f"{w:08x}" for w in row], [f"{int(n):08x}" for n in out]])
             for row, out in zip(words, bits)]
    head = '{"script": "core/noise/make_normals.py",\n'
    head += ' "rows": "four words, the bits of their four float32 normals",\n "normals": [\n'
    return head + ",\n".join(lines) + "\n]}\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if PATH.read_text() != text():
            sys.exit(f"{PATH.name} is not what this script makes")
    else:
        PATH.write_text(text())

# SPDX-License-Identifier: Apache-2.0
"""how_normal.py [SEED [LOG2_PAIRS]]: measures the normals, for a column of the table in NOISE.md.

Draws 2^20 numbers of each of 2^LOG2_PAIRS pairs (12: 2^32 numbers, five minutes) of domain 0,
generation 0. z: the distance from a normal's value in standard deviations of the measurement.
"""
import math
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "client" / "python"))

import talweg_noise as tn  # noqa: E402

PER_PAIR = 1 << 20
CELLS = 1 << 18  # of the histogram, in a unit: fine enough for Kolmogorov and Smirnov's distance
LARGEST = 7
# Power -> its expectation and its variance, for a normal.
MOMENTS = {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96), 6: (15, 10170), 8: (105, 2016000)}


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    pairs = 1 << (int(sys.argv[2]) if len(sys.argv) > 2 else 12)
    draws = pairs * PER_PAIR
    powers, lags, across = dict.fromkeys(MOMENTS, 0.0), dict.fromkeys(range(1, 5), 0.0), 0.0
    cells, zeros, largest, before = np.zeros(2 * LARGEST * CELLS, np.int64), 0, 0.0, None
    for pair in range(pairs):
        numbers = tn.numbers(seed, tn.DENSE_NORMAL, pair, 0, 0, PER_PAIR)
        cells += np.bincount(np.floor(numbers * np.float32(CELLS)).astype(np.int64)
                             + LARGEST * CELLS, minlength=len(cells))
        zeros += np.count_nonzero(numbers == 0)
        largest = max(largest, float(np.abs(numbers).max()))
        x = numbers.astype(np.float64)
        square = x * x
        fourth = square * square
        for power, terms in ((1, x), (2, square), (3, square * x), (4, fourth),
                             (6, fourth * square), (8, fourth * fourth)):
            powers[power] += terms.sum()
        for lag in lags:
            lags[lag] += np.dot(x[lag:], x[:-lag])
        if before is not None:
            across += np.dot(x, before)
        before = x

    print(f"{draws} draws, seed {seed}")
    root = math.sqrt(draws)
    for power, (expectation, variance) in MOMENTS.items():
        off = powers[power] / draws - expectation
        print(f"mean of x^{power}: {expectation} {off:+.1e}, z {off * root / math.sqrt(variance):+.2f}")
    for lag, total in lags.items():
        print(f"neighbours {lag} apart: correlation {total / draws:+.1e}, z {total / root:+.2f}")
    print(f"pairs 1 apart: correlation {across / draws:+.1e}, z {across / root:+.2f}")
    edges = (np.arange(len(cells)) - LARGEST * CELLS) / CELLS
    normal = np.array([math.erfc(-edge / math.sqrt(2)) / 2 for edge in edges])
    below = np.concatenate([[0], np.cumsum(cells)[:-1]]) / draws
    distance = np.abs(below - normal).max()
    chance = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * distance * root) ** 2)
                     for k in range(1, 100))
    print(f"Kolmogorov-Smirnov: distance {distance:.2e}, p {chance:.3f}")
    for limit in (3, 4, 5, 5.5, 6):
        outside = draws - cells[np.abs(edges + 0.5 / CELLS) < limit].sum()
        share = math.erfc(limit / math.sqrt(2))
        z = (outside - draws * share) / math.sqrt(draws * share)
        print(f"|x| > {limit}: {outside}, expected {draws * share:.1f}, z {z:+.2f}")
    print(f"zeros: {zeros}, expected {draws / 2**25:.0f}; largest |x|: {largest:.3f}")


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes noise.json: what an implementation of proto/NOISE.md must give, from NumPy alone.

    make_noise.py [--check]     --check compares instead

client/python/talweg_noise.py does the arithmetic; only the known answers of Philox are Random123's
own. "The test vectors" in proto/NOISE.md says what each part of the file is.
"""
import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "client" / "python"))

import talweg_noise as tn  # noqa: E402

PATH = HERE / "noise.json"
F, LAST = np.float32, 2**32 - 1
SEED = 0x0123456789ABCDEF
LAYOUT = [(5,), (7, 3), (2, 3, 2, 3), (), (1, 9), (13, 1), (2,), (3, 2, 2)]
SIZE = tn.Noise(LAYOUT, 0, 1).num_elements

# Random123, tests/kat_vectors, the rows "philox4x32 10": counter, key, words.
KNOWN_ANSWERS = [
    ["00000000" * 4, "00000000" * 2, "6627e8d5e169c58dbc57ac4c9b00dbd8"],
    ["ffffffff" * 4, "ffffffff" * 2, "408f276d41c83b0ea20bc7c66d5451fd"],
    ["243f6a8885a308d313198a2e03707344", "a4093822299f31d0", "d16cfe0994fdcceb5001e42024126ea1"],
]


def bits(numbers):
    """The bits of float32, float64 or uint32 numbers, 8 or 16 hexadecimal digits each, joined."""
    numbers = np.atleast_1d(np.asarray(numbers))
    return numbers.astype(numbers.dtype.newbyteorder(">")).tobytes().hex()


def words_of(text):
    return [int(text[i:i + 8], 16) for i in range(0, len(text), 8)]


def known_answers():
    for counter, key, words in KNOWN_ANSWERS:
        assert bits(tn.philox(words_of(counter), words_of(key))) == words
    return [{"counter": c, "key": k, "words": w} for c, k, w in KNOWN_ANSWERS]


# Words (of the radius, of the angle) whose exact results lie next to where float32 rounds the other
# way. Found by search: each coefficient of the definition, changed by one unit in its last place,
# changes the normals of two of them, and so does each product that is not rounded before its sum,
# and each product of three that is taken in another order. Most other words would not notice.
TELLING = (
    [0x001217D6, 0x001EDA07, 0x0CF6916B, 0x19FB04E6, 0x2CC47C92, 0x5988F924, 0xAB439779,
     0xAD384DCC, 0x0156825D, 0x016F6F9D, 0x01AE3069, 0x04DF01FF, 0x0515313D, 0x0B2DE744,
     0x2CFFC6C8, 0x5290512F, 0x5949FE22, 0x676118DB, 0x9D8F47A7, 0xAD66953D, 0xB27DF8D3,
     0x2CC47C70],
    [0x15B5EA4A, 0x193A3577, 0x1B58503C, 0x1CBA69BF, 0x2147B2E4, 0x21AD4CE4, 0x23F8DF04,
     0x2BCE2DD8, 0x01343828, 0x018E009F, 0x02063A30, 0x0711BAB7, 0x0D27EAA4, 0x15CEB8A8,
     0x2374AC7E, 0x2480E2BE, 0x5DE9083F, 0x63881DC3, 0x1AF5C370, 0x1AF5C392, 0x29BA70A1,
     0x341111D3])


def telling_words():
    words = np.array([[a, 0, 7, b] for a, b in zip(*TELLING)], np.uint32).T
    right = tn.normals(words)
    for coefficients in (tn._LOG, tn._LOG2, tn._SINE, tn._COSINE, tn._ANGLE):
        for i, coefficient in enumerate(coefficients):
            for direction in (-np.inf, np.inf):
                coefficients[i] = np.nextafter(coefficient, F(direction))
                assert (tn.normals(words) != right).any(axis=1).sum() >= 2
                coefficients[i] = coefficient
    return words.T


def normals():
    """Words of corners against each other, those of TELLING, words as they come."""
    ends = [0, 1, 2, 3, 0x7FFFFFFF, 0x80000000, LAST - 1, LAST]
    radius = ends + [0xFFFFFF7E, 0xFFFFFF7F, 0xFFFFFF80, 0xFFFFFFC0,  # where k rounds to 2^31
                     0x5A827998, 0x5A827999, 0x5A82799A, 0xB504F332, 0xB504F333, 0xB504F334,
                     0xFE000000, 0x01FFFFFF, 0x02000001]  # around sqrt(1/2); where k gets rounded
    angle = sorted({(eighth * 2**29 + offset) % 2**32 for eighth in range(8)
                    for offset in (-1, 0, 1)} | set(ends))
    pairs = [(a, b) for a in radius for b in angle]
    for power in range(32):
        for offset in (-1, 0, 1):
            word = (2**power + offset) % 2**32
            pairs += [(word, 0x9E3779B9), (0x9E3779B9, word)]
    pairs += [(0, 0)] * (len(pairs) % 2)
    words = np.array(pairs, np.uint32).reshape(-1, 4)
    drawn = tn.philox((np.arange(1000), 0, 1, 2), (3, 4)).T
    words = np.concatenate([words, telling_words(), drawn])
    made = tn.normals(words.T)
    sizes = np.abs(made[made != 0])
    assert made.size >= 4096 and np.isfinite(made).all() and sizes.min() > 2.0**-60
    return [[bits(row), bits(numbers)] for row, numbers in zip(words, made)]


def streams():
    rows = []
    for domain in (tn.DENSE_NORMAL, tn.LOW_RANK_NORMAL, tn.INITIAL_VALUES, tn.DENSE_RADEMACHER,
                   tn.LOW_RANK_RADEMACHER):
        per_block = 128 if domain in tn.RADEMACHER else 4
        for seed, pair, generation, begin, count in (
                (0, 0, 0, 0, 9), (SEED, 1, 2, 126, 6), (2**64 - 1, LAST, LAST, 5, 11),
                (SEED, 7, 0, per_block * 2**32 - 3, 7),  # where the block leaves 32 bits
                (1 << 32, 2**31, 3, 2**40 - 1, 3), (SEED, 9, LAST, per_block * (2**48 - 1), 4)):
            if domain == tn.INITIAL_VALUES:
                pair = generation = 0
            made = tn.numbers(seed, domain, pair, generation, begin, count)
            row = {"seed": str(seed), "domain": domain, "pair": pair, "generation": generation,
                   "begin": str(begin)}
            if domain in tn.RADEMACHER:
                row["signs"] = "".join("+" if number > 0 else "-" for number in made)
            else:
                row["numbers"] = bits(made)
            rows.append(row)
    return rows


def data_seeds():
    return [{"seed": str(seed), "generation": generation,
             "data_seed": str(tn.data_seed(seed, generation))}
            for seed in (0, 1, SEED, 2**64 - 1) for generation in (0, 1, 2, 1000, LAST)]


def noise_fields(noise):
    return {"seed": str(noise.seed), "sigma": bits(noise.sigma), "rank": noise.rank,
            "rademacher": noise.rademacher}


def displacements(w):
    rows = []
    for rank in (0, 1, 2, 3, 4):
        for rademacher in (False, True):
            for number, (sigma, generation, pair) in enumerate((
                    (0.01, 0, 0), (1.0, 3, 5), (0.25, LAST, LAST),
                    (1e-38, 12, 63), (4e-45, 4, 2**31))):  # products below 2^-126 are not flushed
                if number > 1 and rank in (2, 3):
                    continue
                noise = tn.Noise(LAYOUT, SEED + rank, sigma, rank, rademacher)
                moved = noise.displacement(generation, pair)
                row = {**noise_fields(noise), "generation": generation, "pair": pair,
                       "displacement": bits(moved)}
                if number == 1:
                    row["plus"] = bits(noise.perturb(w, generation, pair, +1))
                    row["minus"] = bits(noise.perturb(w, generation, pair, -1))
                rows.append(row)
    return rows


def estimates():
    rows = []
    for rank in (0, 1, 3, 4):
        for rademacher in (False, True):
            noise = tn.Noise(LAYOUT, SEED ^ rank, 0.5, rank, rademacher)
            for number, (pairs, factor) in enumerate((
                    # Runs 0, 1 and 3, each with gaps; nobody told run 2.
                    ([p for p in range(225) if p % 7 != 3 and p // 64 != 2], 1 / 192 / 0.5),
                    ([62, 63, 64, LAST - 64, LAST - 1, LAST], 0.1),  # two runs of large numbers
                    ([0], 1.0), ([1, 2, 3], 2.0**-126), ([5, 6], 0.0))):
                if number > 1 and rank in (1, 3):
                    continue
                weights = tn.numbers(77 + rank, tn.DENSE_NORMAL, 0, number, 0, len(pairs))
                if number == 1:
                    weights = weights * F(2.0**-120)  # sums that float32 holds as subnormals
                generation = number * 1000 + rank
                g = noise.estimate(generation, dict(zip(pairs, weights)), factor)
                rows.append({**noise_fields(noise), "generation": generation, "pairs": pairs,
                             "weights": bits(weights), "factor": bits(np.float64(factor)),
                             "gradient": bits(g)})
    return rows


def loss_sets():
    """Float64 [n, 2] each: ties, one pair, all equal, many sizes, rewards, tiny ones."""
    drawn = tn.numbers(5, tn.DENSE_NORMAL, 0, 0, 0, 200).astype(np.float64)
    ties = np.floor(drawn[:46] * 3) / 4 + 1.5
    sizes = (drawn[60:90] / 3) * 2.0 ** np.arange(-45, 45, 3)
    return [array.reshape(-1, 2) for array in (
        ties, drawn[100:102], np.full(6, 0.1), sizes, np.round(drawn[110:150] * 100) - 7.3,
        np.array([0, 1e-170, 3e-170, 1e-170]))]


def choices():
    for scale in ("TUTORIAL", "GRADIENT"):
        for maximize in (False, True):
            for shaping in ("NONE", "CENTERED_RANKS", "Z_SCORE"):
                yield {"difference": "CENTRAL", "scale": scale, "shaping": shaping,
                       "baseline": "NONE", "maximize": maximize}
                for baseline in ("NONE", "MEAN", "EVALUATED") if shaping == "NONE" else ("NONE",):
                    yield {"difference": "ONE_SIDED", "scale": scale, "shaping": shaping,
                           "baseline": baseline, "maximize": maximize}
            yield {"difference": "DIRECTIONAL", "scale": scale, "shaping": "NONE",
                   "baseline": "NONE", "maximize": maximize}


def weights():
    sets, rows = loss_sets(), []
    for number, losses in enumerate(sets):
        evaluated = np.float64(0.3) * (number + 1)
        for place, choice in enumerate(choices()):
            sigma = F((0.01, 0.3)[place % 2])
            taken = losses if choice["difference"] == "CENTRAL" else losses[:, 0]
            made, factor = tn.weigh(taken, sigma, evaluated=evaluated, **choice)
            rows.append({"losses": number, **choice, "sigma": bits(sigma),
                         "evaluated": bits(evaluated), "weights": bits(made),
                         "factor": bits(np.float64(factor))})
    return {"losses": [bits(losses) for losses in sets], "rows": rows}


def if_better():
    rows = []
    for losses in loss_sets():
        for maximize in (False, True):
            best = (losses[:, 0].max() if maximize else losses[:, 0].min())
            for evaluated in (best, np.nextafter(best, -np.inf), np.nextafter(best, np.inf)):
                found = tn.better_pair(losses[:, 0], evaluated, maximize=maximize)
                rows.append({"losses": bits(losses[:, 0]), "evaluated": bits(evaluated),
                             "maximize": maximize, "position": -1 if found is None else found})
    return rows


def text():
    w = tn.numbers(99, tn.INITIAL_VALUES, 0, 0, 0, SIZE)
    parts = {"philox": known_answers(), "normals": normals(), "streams": streams(),
             "data_seeds": data_seeds(), "displacements": displacements(w),
             "estimates": estimates(), "weights": weights(), "if_better": if_better()}
    head = {"script": "proto/vectors/make_noise.py", "page": "proto/NOISE.md",
            "layout": [list(shape) for shape in LAYOUT], "parameters": bits(w)}

    def value(part):
        if isinstance(part, dict):
            rows = (f'"{name}": {value(rows)}' for name, rows in part.items())
            return "{" + ", ".join(rows) + "}"
        return "[\n" + ",\n".join(json.dumps(row) for row in part) + "]"

    lines = [f'"{name}": {json.dumps(content)}' for name, content in head.items()]
    lines += [f'"{name}": {value(content)}' for name, content in parts.items()]
    return "{" + ",\n".join(lines) + "}\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if PATH.read_text() != text():
            sys.exit(f"{PATH.name} is not what this script makes")
    else:
        PATH.write_text(text())

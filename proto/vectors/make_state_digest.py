#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes state_digest.json: a short run, and the digests that its state must have, from NumPy alone.

    make_state_digest.py [--check]     --check compares instead

The run is one that a client in any language can take in a minute: 1,000 elements, drawn by the
server (`seeded`, seed 7, one rule `normal`), `adam` with every default, rate 0.01, and 300 steps
of one worker, whose gradient at the parameters w is

    g[i] = w[i] - float32(i % 1000) * float32(0.001)          each operation rounded to float32

The same happens here without a line of the server: the generator and the normals are those of
core/noise/make_normals.py, Adam is written down below in float32, and the digest is what "The digest
of a state" in proto/README.md says. tests/conformance/state_digest_test.cc and
tests/languages/digest_test.py take the run against a real server.
"""
import hashlib
import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "core" / "noise"))

from make_normals import box_muller, philox  # noqa: E402

PATH = HERE / "state_digest.json"
F = np.float32
SIZE, SEED, RATE, TOLD = 1000, 7, 0.01, (0, 1, 300)
INITIAL_VALUES = 1  # the domain of these draws, in the second word of the counter


def start():
    """Element i comes from block i // 4 of the flat vector."""
    words = np.array([philox([block, INITIAL_VALUES << 16, 0, 0], [SEED, 0])
                      for block in range((SIZE + 3) // 4)], np.int64)
    pairs = [*box_muller(words[:, 0], words[:, 1]), *box_muller(words[:, 2], words[:, 3])]
    return np.stack(pairs, axis=1).reshape(-1)[:SIZE]


class Adam:
    """Dialect TORCH: coefficients in float64, rounded once; everything else in float32."""

    def __init__(self, size):
        self.m, self.v = np.zeros(size, F), np.zeros(size, F)
        self.beta1_product = self.beta2_product = np.float64(1)

    def step(self, w, g):
        beta1, beta2 = np.float64(0.9), np.float64(0.999)
        self.beta1_product *= beta1
        self.beta2_product *= beta2
        self.m = F(beta1) * self.m + F(1 - beta1) * g
        self.v = F(beta2) * self.v + F(1 - beta2) * g * g
        rate = F(RATE / (1 - self.beta1_product))
        scale = F(1 / np.sqrt(1 - self.beta2_product))
        return w - rate * self.m / (np.sqrt(self.v) * scale + F(1e-8))

    def slots(self):
        return {"m": self.m, "v": self.v, "beta1_product": np.array([self.beta1_product]),
                "beta2_product": np.array([self.beta2_product])}


def vectors(w, adam):
    """Name, type, number and SHA-256: the parameters, then everything else by its name."""
    named = [("parameters", w), *sorted(adam.slots().items())]
    return [{"name": name, "type": values.dtype.name, "num_elements": len(values),
             "sha256": hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes())
             .hexdigest()} for name, values in named]


def digest(version, rows):
    lines = ["talweg.state.v1", f"version {version}"]
    lines += ["{name} {type} {num_elements} {sha256}".format(**row) for row in rows]
    return "".join(line + "\n" for line in lines)


def states():
    w, adam = start(), Adam(SIZE)
    target = (np.arange(SIZE) % 1000).astype(F) * F(0.001)
    for version in range(TOLD[-1] + 1):
        if version > 0:
            w = adam.step(w, w - target)
        assert w.dtype == adam.m.dtype == adam.v.dtype == F
        if version in TOLD:
            rows = vectors(w, adam)
            text = digest(version, rows)
            yield {"version": version, "vectors": rows, "text": text,
                   "sha256": hashlib.sha256(text.encode()).hexdigest()}


def text():
    return json.dumps({
        "script": "proto/vectors/make_state_digest.py",
        "scheme": "talweg.state.v1",
        "config": {
            "layout": {"tensors": [{"name": "w", "shape": [str(SIZE)]}]},
            "optimizer": {"adam": {}}, "schedule": {"learning_rate": RATE}},
        "initial_values": {"seeded": {"seed": str(SEED),
                                      "rules": [{"tensors": "w", "normal": {}}]}},
        "gradient": "g[i] = w[i] - float32(i % 1000) * 0.001f, in float32",
        "states": list(states())}, indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if PATH.read_text() != text():
            sys.exit(f"{PATH.name} is not what this script makes")
    else:
        PATH.write_text(text())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The files of `talweg` and NumPy's: what one writes, the other reads, with shapes and all bits.

    numpy_files_test.py TALWEG ADDRESS
"""
import os
import subprocess
import sys
import tempfile

import numpy as np

TALWEG, ADDRESS = sys.argv[1:]
LAYOUT = "layer/w:2,3 b:3 scale cube:2,2,2"
RATE = np.float32(0.5)


def talweg(*words, code=0, says=""):
    """Runs `talweg`; returns what it printed. Wants that exit code, and `says` in its words."""
    done = subprocess.run([TALWEG, *words, f"--server={ADDRESS}"], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == code, (words, done.returncode, done.stdout)
    assert says in done.stdout, (words, done.stdout)
    return done.stdout


def create(name, layout, initial, **wanted):
    return talweg("session", "create", name, "--layout", layout, "--optimizer", "gradient_descent",
                  "--learning_rate", str(RATE), "--initial", initial, **wanted)


def draw(seed):
    """Arrays of every shape of the layout."""
    draws = np.random.default_rng(seed)
    shapes = {"layer/w": (2, 3), "b": (3,), "scale": (), "cube": (2, 2, 2)}
    return {name: draws.standard_normal(shape).astype(np.float32)
            for name, shape in shapes.items()}


def same(file, expected):
    got = np.load(file)
    assert sorted(got.files) == sorted(expected), (got.files, sorted(expected))
    for name, array in expected.items():
        assert got[name].dtype == np.float32 and got[name].shape == array.shape, (name, got[name])
        assert got[name].tobytes() == array.tobytes(), (name, got[name], array)


def by_tensor():
    initial, gradient = draw(1), draw(2)
    np.savez("initial.npz", **initial)
    # In another order, packed, transposed, with the other byte order.
    turned = {name: np.array(gradient[name], ">f4", order="F") for name in reversed(gradient)}
    np.savez_compressed("gradient.npz", **turned)
    create("named", LAYOUT, "initial.npz")
    talweg("pull", "named", "--output", "pulled.npz", says="18 elements of version 0")
    same("pulled.npz", initial)
    talweg("step", "named", "--gradient", "gradient.npz", "--output", "stepped.npz")
    same("stepped.npz", {name: initial[name] - RATE * gradient[name] for name in initial})
    # Beside it the flat vector, in the order of the layout.
    talweg("pull", "named", "--output", "pulled.npy")
    flat = np.concatenate([(initial[name] - RATE * gradient[name]).ravel() for name in initial])
    assert np.load("pulled.npy").tobytes() == flat.tobytes()
    talweg("step", "named", "--gradient", "pulled.npy")

    np.savez("half.npz", **{name: array for name, array in gradient.items() if name != "b"})
    talweg("step", "named", "--gradient", "half.npz", code=1, says='no member for the tensor "b"')
    np.savez("wrong.npz", **dict(gradient, **{"layer/w": gradient["layer/w"].T}))
    talweg("step", "named", "--gradient", "wrong.npz", code=1,
           says='has "layer/w" in the shape (3, 2), the layout has it in (2, 3)')
    talweg("session", "delete", "named")


def one_array():
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save("wrong.npy", matrix.reshape(3, 2))
    create("one", "w:2,3", "wrong.npy", code=1, says="has the shape (3, 2), the tensor")
    for kind, word in (("<f4", ""), (">f4", ""), ("<f8", "rounded to float32"), (">f2", "loss")):
        for turn in (np.ascontiguousarray, np.asfortranarray, np.ravel):
            np.save("initial.npy", turn(matrix.astype(kind)))
            said = create("one", "w:2,3", "initial.npy", says=word)
            assert word or "initial.npy" not in said, said
            talweg("pull", "one", "--output", "pulled.npz")
            same("pulled.npz", {"w": matrix})
            talweg("session", "delete", "one")
    np.save("initial.npy", np.arange(6).reshape(2, 3))
    create("one", "w:2,3", "initial.npy", code=1, says="holds int64")


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        by_tensor()
        one_array()
        os.chdir("/")


main()

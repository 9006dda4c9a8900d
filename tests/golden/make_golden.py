#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden trajectories beside this script, one file per method; --check compares instead.

    make_golden.py [--check] [method ...]     all methods if none is named

Needs an interpreter that has torch and numpy. Debian's has them (python3-torch), but another
`python3` may come first on PATH; torch_python.sh finds the right one.

A case is the configuration of a method, a size, a seed, the learning rate of each of 50 steps and,
in some cases, a decoupled weight decay. Start and gradients come from the generator below, which
golden_test.cc repeats; both hold exact float32 numbers. The file has the parameters after some
steps twice:

    float64   by the formulas of core/optimizers in float64, written down anew in methods.py
    torch     by torch.optim itself in float32: in dialect TORCH, or if the method has no dialects;
              with decay if torch.optim decouples it

`torch_peer` names the class of torch.optim that has the method; null says that there is none.
methods.py holds all that is said of a method.
"""

import json
import os
import pathlib
import sys

# Plain vector code, no fused multiply-add: the same bits on more machines.
os.environ["ATEN_CPU_CAPABILITY"] = "default"

import numpy as np  # noqa: E402
import torch  # noqa: E402

from methods import METHODS, STEPS  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


class Generator:
    """Knuth's 64-bit linear congruential generator; the upper 24 bits as a number in [-1, 1)."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 40) / 2.0**23 - 1.0

    def start(self, size):
        return np.array([self.next() for _ in range(size)], np.float32)

    def gradient(self, size, step):
        """Noise around a constant, of magnitudes from 1 to 2^-28 by coordinate; now and then 0."""
        values = []
        for i in range(size):
            noise = self.next()
            scale = 2.0 ** -(4 * (i % 8))
            values.append(0.0 if (i + step) % 11 == 0 else (noise + 0.25 * (i % 3)) * scale)
        return np.array(values, np.float64).astype(np.float32)


def inputs(case):
    generator = Generator(case["seed"])
    start = generator.start(case["size"])
    return start, [generator.gradient(case["size"], step) for step in range(1, STEPS + 1)]


def by_formula(method, case, start, gradients):
    w, rates = start.astype(np.float64), case["rates"]
    wide = [g.astype(np.float64) for g in gradients]
    if "by_tensor" in METHODS[method]:
        yield from METHODS[method]["by_tensor"](case, w, wide)
        return
    for step, eta in zip(METHODS[method]["formula"](case["config"], wide, rates), rates):
        w = w * (1 - eta * case.get("decay", 0)) - step
        yield w


def by_torch(method, case, start, gradients):
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    row = METHODS[method]
    options = row["torch_options"](case["config"])
    if row.get("torch_decouples"):
        options["weight_decay"] = case.get("decay", 0)
    optimizer = getattr(torch.optim, row["torch"])([parameter], lr=0.1, **options)
    for gradient, rate in zip(gradients, case["rates"]):
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        yield parameter.detach().numpy().copy()


def has_torch(method, case):
    row = METHODS[method]
    return (row["torch"] is not None and case["config"].get("dialect", "TORCH") == "TORCH"
            and ("decay" not in case or row.get("torch_decouples", False)))


def check_peers():
    """Fails if a method is said to lack a peer that this torch has."""
    there = {name.lower() for name in dir(torch.optim)}
    for method, row in METHODS.items():
        if row["torch"] is None and method.replace("_", "") in there:
            raise SystemExit(f"{method}: torch.optim has it; name it in METHODS")


def snapshots(trajectory, steps, digits):
    return {str(step): [float(f"{x:.{digits}g}") for x in w]
            for step, w in enumerate(trajectory, 1) if step in steps}


def golden(method):
    cases = []
    for seed, (settings, (size, rates, steps), *decay) in enumerate(METHODS[method]["cases"](), 1):
        # A method that looks at whole tensors says more of a case than its configuration.
        case = settings if "by_tensor" in METHODS[method] else {"config": settings}
        case = {**case, "size": size, "seed": seed, "rates": rates}
        if decay:
            case["decay"] = decay[0]
        start, gradients = inputs(case)
        case["float64"] = snapshots(by_formula(method, case, start, gradients), steps, 17)
        if has_torch(method, case):
            case["torch"] = snapshots(by_torch(method, case, start, gradients), steps, 9)
        cases.append(case)
    peer = METHODS[method]["torch"]
    return {"script": "tests/golden/make_golden.py", "torch_version": torch.__version__,
            "numpy_version": np.__version__, "torch_peer": peer and f"torch.optim.{peer}",
            "cases": cases}


def differences(written, made):
    """Names what stands in a file and is not made again: float64 to 1e-12, torch to 4 ulp of the
    largest parameter, because vector widths differ, and torch's rounding with them."""
    if written.get("torch_peer") != made["torch_peer"]:
        yield "torch_peer"
    if len(written["cases"]) != len(made["cases"]):
        yield "the number of cases"
        return
    for number, (old, new) in enumerate(zip(written["cases"], made["cases"])):
        for key in "config", "size", "seed", "rates", "decay", "fallback":
            if old.get(key) != new.get(key):
                yield f"case {number}: {key}"
        for key, tolerance in ("float64", 1e-12), ("torch", 4 * 2.0**-23):
            a, b = old.get(key, {}), new.get(key, {})
            if a.keys() != b.keys():
                yield f"case {number}: steps of {key}"
                continue
            for step in a:
                x, y = np.array(a[step]), np.array(b[step])
                if x.shape != y.shape or np.max(np.abs(x - y)) > tolerance * np.max(np.abs(x)):
                    yield f"case {number}: {key} after step {step}"


def write_cases(path, made):
    """Writes a golden file: what all cases have in common, then one line for each case."""
    head = json.dumps({key: made[key] for key in made if key != "cases"})[:-1]
    lines = ",\n".join(json.dumps(case) for case in made["cases"])
    path.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')


def main():
    torch.set_num_threads(1)
    check_peers()
    arguments = sys.argv[1:]
    check = "--check" in arguments
    methods = [argument for argument in arguments if argument != "--check"] or list(METHODS)
    for method in methods:
        if method not in METHODS:
            raise SystemExit(f"{method}: not a method; there are {', '.join(METHODS)}")
    found = []
    for method in methods:
        path = HERE / f"{method}.json"
        made = golden(method)
        if check:
            found += [f"{path.name}: {what} differs"
                      for what in differences(json.loads(path.read_text()), made)]
        else:
            write_cases(path, made)
    print("\n".join(found) or "golden files: as made")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden trajectories, a JSON file a method, beside this script; --check compares instead.

Needs an interpreter that has torch and numpy; Debian's does (python3-torch), another `python3` may
come first on PATH. torch_python.sh finds one.

A case is a method's configuration, a size, a seed and the learning rate of each of 50 steps. Start
and gradients come from the generator below, which golden_test.cc repeats; both hold exact float32
numbers. After some steps the parameters stand twice in the file:

    float64   by the formulas of core/optimizers in float64, written down anew in this script
    torch     by torch.optim itself in float32; in dialect TORCH, and where there is no dialect
"""

import json
import os
import pathlib
import sys

# Plain vector code, no fused multiply-add: the same bits on more machines.
os.environ["ATEN_CPU_CAPABILITY"] = "default"

import numpy as np  # noqa: E402
import torch  # noqa: E402

import by_tensor  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
STEPS = 50


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


# ---- the formulas in float64 ----


def gradient_descent(config, w, gradients, rates):
    for g, eta in zip(gradients, rates):
        w = w - eta * g
        yield w


def momentum(config, w, gradients, rates):
    beta, dialect = config["beta"], config["dialect"]
    m = None
    for g, eta in zip(gradients, rates):
        if dialect == "TORCH":
            m = g if m is None else beta * m + (1 - config.get("dampening", 0)) * g
            w = w - eta * m
        elif dialect == "KERAS":
            m = beta * (0 if m is None else m) - eta * g
            w = w + m
        else:
            m = beta * (0 if m is None else m) + (1 - beta) * g
            w = w - eta * m
        yield w


def adam(config, w, gradients, rates):
    beta1, beta2, epsilon = config["beta1"], config["beta2"], config["epsilon"]
    m = v = v_max = 0.0
    for t, (g, eta) in enumerate(zip(gradients, rates), 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        v_max = np.maximum(v_max, v)
        second = v_max if config["amsgrad"] else v
        c1, c2 = 1 - beta1**t, 1 - beta2**t
        if config["dialect"] == "TORCH":
            w = w - eta / c1 * m / (np.sqrt(second) / np.sqrt(c2) + epsilon)
        elif config["dialect"] == "KERAS":
            w = w - eta * np.sqrt(c2) / c1 * m / (np.sqrt(second) + epsilon)
        else:
            w = w - eta * (m / c1) / (np.sqrt(second / c2) + epsilon)
        yield w


# ---- torch.optim in float32 ----


def torch_optimizer(method, config, parameters):
    if method == "gradient_descent":
        return torch.optim.SGD(parameters, lr=0.1)
    if method == "momentum":
        return torch.optim.SGD(parameters, lr=0.1, momentum=config["beta"],
                               dampening=config.get("dampening", 0))
    return torch.optim.Adam(parameters, lr=0.1, betas=(config["beta1"], config["beta2"]),
                            eps=config["epsilon"], amsgrad=config["amsgrad"])


def by_torch(method, config, start, gradients, rates):
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = torch_optimizer(method, config, [parameter])
    for gradient, rate in zip(gradients, rates):
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        yield parameter.detach().numpy().copy()


# ---- the cases ----


def constant(rate):
    return [rate] * STEPS


def varying(rate):
    """Another rate at each step, up and down and decaying."""
    return [rate * (1 + t % 5) / 4 / (1 + 0.1 * t) for t in range(STEPS)]


def shapes(rate):
    """(size, rates, steps that are written down)"""
    return [(67, constant(rate), (1, 2, 10, 50)), (7, varying(2 * rate), (1, 2, 10, 50)),
            (1, varying(rate), (1, 2, 10, 50)), (1003, varying(rate), (50,))]


def cases_of(method):
    """[(config, shape)]"""
    if method == "gradient_descent":
        return [({}, shape) for shape in shapes(0.05)]
    cases = []
    if method == "momentum":
        for dialect, rate in ("TUTORIAL", 0.05), ("TORCH", 0.01), ("KERAS", 0.01):
            for beta, shape in zip((0.9, 0.5, 0.99, 0.9), shapes(rate)):
                cases.append(({"dialect": dialect, "beta": beta}, shape))
        for dampening, shape in zip((0.3, 1.0), shapes(0.01)):
            cases.append(({"dialect": "TORCH", "beta": 0.9, "dampening": dampening}, shape))
        return cases
    for dialect in "TORCH", "KERAS", "PAPER":
        for amsgrad in False, True:
            settings = [(0.9, 0.999, 1e-8), (0.8, 0.99, 1e-3), (0.0, 0.5, 1e-8), (0.9, 0.999, 1e-6)]
            for (beta1, beta2, epsilon), shape in zip(settings, shapes(0.01)):
                cases.append(({"dialect": dialect, "beta1": beta1, "beta2": beta2,
                               "epsilon": epsilon, "amsgrad": amsgrad}, shape))
    return cases


def snapshots(trajectory, steps, digits):
    return {str(step): [float(f"{x:.{digits}g}") for x in w]
            for step, w in enumerate(trajectory, 1) if step in steps}


def golden_by_tensor(method):
    assert not hasattr(torch.optim, by_tensor.TORCH_NAMES[method]), "compare with it, then"
    cases = []
    for seed, (settings, (size, rates, steps)) in enumerate(by_tensor.CASES[method](shapes), 1):
        case = {**settings, "size": size, "seed": seed, "rates": rates}
        start, gradients = inputs(case)
        trajectory = by_tensor.FORMULAS[method](case, start.astype(np.float64),
                                                [g.astype(np.float64) for g in gradients])
        case["float64"] = snapshots(trajectory, steps, 17)
        cases.append(case)
    return {"script": "tests/golden/make_golden.py", "torch_version": torch.__version__,
            "torch_has_it": False, "numpy_version": np.__version__, "cases": cases}


def golden(method):
    if method in by_tensor.FORMULAS:
        return golden_by_tensor(method)
    formula = {"gradient_descent": gradient_descent, "momentum": momentum, "adam": adam}[method]
    cases = []
    for seed, (config, (size, rates, steps)) in enumerate(cases_of(method), 1):
        case = {"config": config, "size": size, "seed": seed, "rates": rates}
        start, gradients = inputs(case)
        wide = [g.astype(np.float64) for g in gradients]
        case["float64"] = snapshots(formula(config, start.astype(np.float64), wide, rates), steps, 17)
        if config.get("dialect", "TORCH") == "TORCH":
            case["torch"] = snapshots(by_torch(method, config, start, gradients, rates), steps, 9)
        cases.append(case)
    return {"script": "tests/golden/make_golden.py", "torch_version": torch.__version__,
            "numpy_version": np.__version__, "cases": cases}


def differences(written, made):
    """What stands in a file and is not made again. float64 to 1e-12, torch to 4 ulp of the largest
    parameter: vector widths differ, and its rounding with them."""
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


def main():
    torch.set_num_threads(1)
    found = []
    for method in ("gradient_descent", "momentum", "adam", *by_tensor.FORMULAS):
        path = HERE / f"{method}.json"
        made = golden(method)
        if "--check" in sys.argv[1:]:
            found += [f"{path.name}: {what} differs"
                      for what in differences(json.loads(path.read_text()), made)]
        else:
            head = json.dumps({key: made[key] for key in made if key != "cases"})[:-1]
            lines = ",\n".join(json.dumps(case) for case in made["cases"])
            path.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')
    print("\n".join(found) or "golden files: as made")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

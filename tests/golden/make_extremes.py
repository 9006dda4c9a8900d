#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes extremes.json beside this script; --check compares instead.

What float32 makes hard, and where a method must be all the same after a thousand steps: gradients that
hardly change, which leave centred RMSProp a spread far below the square of the gradient, and single
gradients whose square float32 does not hold. The parameter, a scalar, is that of the formulas of
methods.py and by_tensor.py in float64.

The gradient of step t, counted from 1, is the float32 that is nearest to

    constant [g]      g
    ramp [g, slope]   g + slope t
    spread [g, s]     g (1 + s x), with x of the Generator of make_golden.py, seed 1
    spike [g, n]      g in step n, and 1 in all others
"""

import json
import sys

from make_golden import HERE, Generator, np, write_cases
from methods import METHODS

ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
RMSPROP = {"alpha": 0.99, "epsilon": 1e-8, "centered": False, "momentum": 0.0, "dialect": "TORCH"}
ADAGRAD = {"epsilon": 1e-10, "initial_accumulator": 0.0, "dialect": "TORCH"}
MUON = {"beta": 0.95, "nesterov": True, "newton_schulz_steps": 5, "match_rms_adamw": True,
        "fallback_beta1": 0.9, "fallback_beta2": 0.95, "fallback_epsilon": 1e-8}

# (kind, numbers, last step). In float64, v - mean^2 itself has digits enough until then.
HARDLY_CHANGING = [("constant", [0.1], 1500), ("spread", [1.0, 3e-4], 3000),
                   ("spread", [-1e-3, 3e-6], 3000), ("ramp", [1.0, 1e-6], 3000),
                   ("ramp", [-5.0, 1e-4], 3000)]

SPIKES = [1e22, -3e30, 3.4e38]


def cases():
    for gradients in HARDLY_CHANGING:
        for dialect in "TORCH", "KERAS":
            for alpha, momentum in (0.99, 0.0), (0.99, 0.9), (0.999, 0.5):
                config = {**RMSPROP, "alpha": alpha, "centered": True, "momentum": momentum,
                          "dialect": dialect, "epsilon": 1e-8 if dialect == "TORCH" else 1e-16}
                yield "rmsprop", config, 0.0, 0.001, gradients
    methods = [("adam", {**ADAM, "dialect": dialect, "amsgrad": amsgrad})
               for dialect in ("TORCH", "KERAS", "PAPER", "FEDERATED") for amsgrad in (False, True)]
    methods += [("adamw", {**ADAM, "dialect": "TORCH", "amsgrad": amsgrad})
                for amsgrad in (False, True)]
    methods += [("rmsprop", {**RMSPROP, "dialect": dialect, "centered": centered,
                             "momentum": momentum})
                for dialect in ("TORCH", "KERAS") for centered in (False, True)
                for momentum in (0.0, 0.9)]
    methods += [("adagrad", {**ADAGRAD, "dialect": dialect}) for dialect in ("TORCH", "KERAS")]
    methods += [("nadam", {**ADAM, "momentum_decay": 0.004}), ("lamb", ADAM), ("muon", MUON)]
    for method, config in methods:
        for spike in SPIKES:
            # Until float32 could tell how large the spike was; it is forgotten later.
            for step, last in (1, 300), (2, 300):
                yield method, config, 1.0, 0.1, ("spike", [spike, step], last)


def gradients_of(kind, numbers, last):
    generator = Generator(1)
    for t in range(1, last + 1):
        if kind == "spike":
            g = numbers[0] if t == numbers[1] else 1.0
        elif kind == "spread":
            g = numbers[0] * (1 + numbers[1] * generator.next())
        else:
            g = numbers[0] + (numbers[1] * t if kind == "ramp" else 0)
        yield np.array([g], np.float32).astype(np.float64)


def trajectory(method, config, start, rate, gradients):
    """The parameter after each step."""
    row, w = METHODS[method], np.array([start])
    values, rates = list(gradients_of(*gradients)), [rate] * gradients[2]
    if "by_tensor" in row:
        case = {"config": config, "rates": rates, "decay": 0.0, "fallback": []}
        return [float(w[0]) for w in row["by_tensor"](case, w, values)]
    after = []
    for step in row["formula"](config, values, rates):
        w = w - step
        after.append(float(w[0]))
    return after


def extremes():
    made = []
    for method, config, start, rate, gradients in cases():
        kind, numbers, last = gradients
        after = trajectory(method, config, start, rate, gradients)
        steps = [step for step in (1, 2, 3, 10, 100, 1000, last) if step <= last]
        made.append({"method": method, "config": config, "start": start, "rate": rate,
                     "gradients": kind, "numbers": numbers,
                     "parameter": {str(step): float(f"{after[step - 1]:.12g}") for step in steps}})
    return {"script": "tests/golden/make_extremes.py", "numpy_version": np.__version__,
            "cases": made}


def differs(old, new):
    if {**old, "parameter": 0} != {**new, "parameter": 0}:
        return True
    a, b = old["parameter"], new["parameter"]
    return a.keys() != b.keys() or any(abs(a[step] - b[step]) > 1e-6 * abs(a[step]) for step in a)


def main():
    path = HERE / "extremes.json"
    made = extremes()
    if "--check" in sys.argv[1:]:
        written = json.loads(path.read_text())
        found = [f"{path.name}: case {number} differs"
                 for number, pair in enumerate(zip(written["cases"], made["cases"]))
                 if differs(*pair)]
        if len(written["cases"]) != len(made["cases"]):
            found.append(f"{path.name}: the number of cases differs")
        print("\n".join(found) or "extremes: as made")
        return 1 if found else 0
    write_cases(path, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())

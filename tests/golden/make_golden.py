#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden trajectories, a JSON file a method, beside this script; --check compares instead.

    make_golden.py [--check] [method ...]     all methods where none is named

Needs an interpreter that has torch and numpy; Debian's does (python3-torch), another `python3` may
come first on PATH. torch_python.sh finds one.

A case is a method's configuration, a size, a seed, the learning rate of each of 50 steps and, in
some, a decoupled weight decay. Start and gradients come from the generator below, which
golden_test.cc repeats; both hold exact float32 numbers. After some steps the parameters stand twice
in the file:

    float64   by the formulas of core/optimizers in float64, written down anew in this script
    torch     by torch.optim itself in float32; in dialect TORCH, and where there is no dialect; with
              decay where torch.optim decouples it

`torch_peer` names the class of torch.optim that has the method; null says that there is none.
METHODS below is all that is said of a method.
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


# ---- the formulas in float64: what is taken off W at each step ----


def gradient_descent(config, gradients, rates):
    for g, eta in zip(gradients, rates):
        yield eta * g


def momentum(config, gradients, rates):
    beta, dialect = config["beta"], config["dialect"]
    m = None
    for g, eta in zip(gradients, rates):
        if dialect == "TORCH":
            m = g if m is None else beta * m + (1 - config.get("dampening", 0)) * g
            yield eta * m
        elif dialect == "KERAS":
            m = beta * (0 if m is None else m) - eta * g
            yield -m
        else:
            m = beta * (0 if m is None else m) + (1 - beta) * g
            yield eta * m


def nesterov(config, gradients, rates):
    beta, dialect = config["beta"], config["dialect"]
    m = 0.0
    for t, (g, eta) in enumerate(zip(gradients, rates), 1):
        if dialect == "TORCH":
            m = g if t == 1 else beta * m + g
            yield eta * (g + beta * m)
        elif dialect == "KERAS":
            m = beta * m - eta * g
            yield eta * g - beta * m
        else:  # g is whatever the worker has found at its lookahead
            m = beta * m + (1 - beta) * g
            yield eta * m


def adagrad(config, gradients, rates):
    epsilon, v = config["epsilon"], config["initial_accumulator"]
    for g, eta in zip(gradients, rates):
        v = v + g**2
        if config["dialect"] == "TORCH":
            yield eta * g / (np.sqrt(v) + epsilon)
        else:
            yield eta * g / np.sqrt(v + epsilon)


def rmsprop(config, gradients, rates):
    alpha, epsilon, mu = config["alpha"], config["epsilon"], config["momentum"]
    v = mean = m = 0.0
    for g, eta in zip(gradients, rates):
        v = alpha * v + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        spread = np.maximum(v - mean**2, 0) if config["centered"] else v
        if config["dialect"] == "TORCH":
            m = mu * m + g / (np.sqrt(spread) + epsilon)
            yield eta * m
        else:
            m = mu * m + eta * g / np.sqrt(spread + epsilon)
            yield m


def adam(config, gradients, rates):
    beta1, beta2, epsilon = config["beta1"], config["beta2"], config["epsilon"]
    m = 0.0
    v = v_max = epsilon**2 if config["dialect"] == "FEDERATED" else 0.0
    for t, (g, eta) in enumerate(zip(gradients, rates), 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        v_max = np.maximum(v_max, v)
        second = v_max if config["amsgrad"] else v
        c1, c2 = 1 - beta1**t, 1 - beta2**t
        if config["dialect"] == "TORCH":
            yield eta / c1 * m / (np.sqrt(second) / np.sqrt(c2) + epsilon)
        elif config["dialect"] == "KERAS":
            yield eta * np.sqrt(c2) / c1 * m / (np.sqrt(second) + epsilon)
        elif config["dialect"] == "FEDERATED":
            yield eta * m / (np.sqrt(second) + epsilon)
        else:
            yield eta * (m / c1) / (np.sqrt(second / c2) + epsilon)


def nadam(config, gradients, rates):
    beta1, beta2, epsilon = config["beta1"], config["beta2"], config["epsilon"]

    def mu(t):
        return beta1 * (1 - 0.5 * 0.96 ** (t * config["momentum_decay"]))

    m = v = 0.0
    product = 1.0
    for t, (g, eta) in enumerate(zip(gradients, rates), 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        product *= mu(t)
        direction = (1 - mu(t)) / (1 - product) * g + mu(t + 1) / (1 - product * mu(t + 1)) * m
        yield eta * direction / (np.sqrt(v / (1 - beta2**t)) + epsilon)


def lion(config, gradients, rates):
    beta1, beta2 = config["beta1"], config["beta2"]
    m = 0.0
    for g, eta in zip(gradients, rates):
        yield eta * np.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g


def by_formula(method, case, start, gradients):
    w, rates = start.astype(np.float64), case["rates"]
    wide = [g.astype(np.float64) for g in gradients]
    if "by_tensor" in METHODS[method]:
        yield from METHODS[method]["by_tensor"](case, w, wide)
        return
    for step, eta in zip(METHODS[method]["formula"](case["config"], wide, rates), rates):
        w = w * (1 - eta * case.get("decay", 0)) - step
        yield w


# ---- torch.optim in float32 ----


def adam_options(config):
    return {"betas": (config["beta1"], config["beta2"]), "eps": config["epsilon"],
            "amsgrad": config["amsgrad"]}


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


# ---- the cases: (config, shape) or (config, shape, decay) ----


def constant(rate):
    return [rate] * STEPS


def varying(rate):
    """Another rate at each step, up and down and decaying."""
    return [rate * (1 + t % 5) / 4 / (1 + 0.1 * t) for t in range(STEPS)]


def shapes(rate):
    """(size, rates, steps that are written down)"""
    return [(67, constant(rate), (1, 2, 10, 50)), (7, varying(2 * rate), (1, 2, 10, 50)),
            (1, varying(rate), (1, 2, 10, 50)), (1003, varying(rate), (50,))]


def decaying(rate):
    """The shape of cases with decay: rates that vary, so that 1 - eta decay rounds to either side."""
    return (23, varying(4 * rate), (1, 2, 10, 50))


def gradient_descent_cases():
    return [({}, shape) for shape in shapes(0.05)] + [({}, decaying(0.05), 0.1)]


def momentum_cases():
    cases = []
    dialects = (("TUTORIAL", 0.05), ("TORCH", 0.01), ("KERAS", 0.01))
    for dialect, rate in dialects:
        for beta, shape in zip((0.9, 0.5, 0.99, 0.9), shapes(rate)):
            cases.append(({"dialect": dialect, "beta": beta}, shape))
    for dampening, shape in zip((0.3, 1.0), shapes(0.01)):
        cases.append(({"dialect": "TORCH", "beta": 0.9, "dampening": dampening}, shape))
    return cases + [({"dialect": dialect, "beta": 0.9}, decaying(rate), 0.1)
                    for dialect, rate in dialects]


def nesterov_cases():
    cases = []
    for dialect, rate in ("TUTORIAL", 0.05), ("TORCH", 0.01), ("KERAS", 0.01):
        for beta, shape in zip((0.9, 0.5, 0.99, 0.9), shapes(rate)):
            cases.append(({"dialect": dialect, "beta": beta}, shape))
        cases.append(({"dialect": dialect, "beta": 0.9}, decaying(rate), 0.1))
    return cases


def adagrad_cases():
    cases = []
    for dialect in "TORCH", "KERAS":
        settings = [(1e-10, 0.0), (1e-7, 0.1), (1e-3, 0.0), (1e-10, 0.0)]
        configs = [{"dialect": dialect, "epsilon": epsilon, "initial_accumulator": initial}
                   for epsilon, initial in settings]
        cases += zip(configs, shapes(0.05))
        cases.append((configs[0], decaying(0.05), 0.1))
    return cases


def rmsprop_cases():
    cases = []
    for dialect in "TORCH", "KERAS":
        for centered in False, True:
            settings = [(0.99, 1e-8, 0.0), (0.9, 1e-7, 0.9), (0.5, 1e-3, 0.5), (0.99, 1e-8, 0.9)]
            configs = [{"dialect": dialect, "alpha": alpha, "epsilon": epsilon,
                        "centered": centered, "momentum": momentum}
                       for alpha, epsilon, momentum in settings]
            cases += zip(configs, shapes(0.002))
            cases.append((configs[centered], decaying(0.002), 0.5))
    return cases


def adam_cases():
    cases = []
    for dialect in "TORCH", "KERAS", "PAPER":
        for amsgrad in False, True:
            settings = [(0.9, 0.999, 1e-8), (0.8, 0.99, 1e-3), (0.0, 0.5, 1e-8), (0.9, 0.999, 1e-6)]
            for (beta1, beta2, epsilon), shape in zip(settings, shapes(0.01)):
                cases.append(({"dialect": dialect, "beta1": beta1, "beta2": beta2,
                               "epsilon": epsilon, "amsgrad": amsgrad}, shape))
    cases += [({"dialect": dialect, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
                "amsgrad": False}, decaying(0.01), 0.1) for dialect in ("TORCH", "KERAS", "PAPER")]
    for amsgrad in False, True:
        settings = [(0.9, 0.99, 1e-3), (0.8, 0.99, 1e-1), (0.0, 0.5, 1e-8), (0.9, 0.99, 1e-3)]
        configs = [{"dialect": "FEDERATED", "beta1": beta1, "beta2": beta2, "epsilon": epsilon,
                    "amsgrad": amsgrad} for beta1, beta2, epsilon in settings]
        cases += list(zip(configs, shapes(0.01))) + [(configs[0], decaying(0.01), 0.1)]
    return cases


def adamw_cases():
    cases = []
    for dialect in "TORCH", "KERAS", "PAPER":
        for amsgrad in False, True:
            config = {"dialect": dialect, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
                      "amsgrad": amsgrad}
            cases += [(config, decaying(0.01), decay) for decay in (0.01, 0.1)]
    torch_config = cases[0][0]
    return cases + [(torch_config, shape, 0.01) for shape in shapes(0.01)[1:]] + [
        (torch_config, decaying(0.01))]


def nadam_cases():
    settings = [(0.9, 0.999, 1e-8, 0.004), (0.8, 0.99, 1e-3, 0.1), (0.0, 0.5, 1e-8, 0.004),
                (0.9, 0.999, 1e-7, 1.0)]
    configs = [{"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "momentum_decay": psi}
               for beta1, beta2, epsilon, psi in settings]
    return list(zip(configs, shapes(0.01))) + [(configs[0], decaying(0.01), 0.1)]


def lion_cases():
    settings = [(0.9, 0.99), (0.5, 0.9), (0.95, 0.98), (0.9, 0.99)]
    configs = [{"beta1": beta1, "beta2": beta2} for beta1, beta2 in settings]
    # Rates that vary: steps of one length would round W to one side, again and again.
    varied = [(size, varying(0.006), steps) for size, _, steps in shapes(0)]
    return list(zip(configs, varied)) + [(configs[0], decaying(0.003), 1.0)]


# ---- the methods ----

METHODS = {
    "gradient_descent": {
        "formula": gradient_descent, "cases": gradient_descent_cases,
        "torch": "SGD", "torch_options": lambda config: {}},
    "momentum": {
        "formula": momentum, "cases": momentum_cases,
        "torch": "SGD", "torch_options": lambda config: {
            "momentum": config["beta"], "dampening": config.get("dampening", 0)}},
    "nesterov": {
        "formula": nesterov, "cases": nesterov_cases,
        "torch": "SGD", "torch_options": lambda config: {
            "momentum": config["beta"], "nesterov": True}},
    "adagrad": {
        "formula": adagrad, "cases": adagrad_cases,
        "torch": "Adagrad", "torch_options": lambda config: {
            "eps": config["epsilon"], "initial_accumulator_value": config["initial_accumulator"]}},
    "rmsprop": {
        "formula": rmsprop, "cases": rmsprop_cases,
        "torch": "RMSprop", "torch_options": lambda config: {
            "alpha": config["alpha"], "eps": config["epsilon"], "centered": config["centered"],
            "momentum": config["momentum"]}},
    "adam": {
        "formula": adam, "cases": adam_cases,
        "torch": "Adam", "torch_options": adam_options},
    "adamw": {
        "formula": adam, "cases": adamw_cases,
        "torch": "AdamW", "torch_options": adam_options, "torch_decouples": True},
    "nadam": {
        # Without foreach, torch 1.13 has mu_t twice in the product of step t + 1.
        "formula": nadam, "cases": nadam_cases,
        "torch": "NAdam", "torch_options": lambda config: {
            "betas": (config["beta1"], config["beta2"]), "eps": config["epsilon"],
            "momentum_decay": config["momentum_decay"], "foreach": True}},
    "lion": {
        "formula": lion, "cases": lion_cases,
        "torch": None},
    "lamb": {
        "by_tensor": by_tensor.lamb, "cases": lambda: by_tensor.lamb_cases(shapes),
        "torch": None},
    "muon": {
        "by_tensor": by_tensor.muon, "cases": lambda: by_tensor.muon_cases(shapes),
        "torch": None},
}


def check_peers():
    """That no method is said to lack a peer that this torch has."""
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
    """What stands in a file and is not made again. float64 to 1e-12, torch to 4 ulp of the largest
    parameter: vector widths differ, and its rounding with them."""
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
            head = json.dumps({key: made[key] for key in made if key != "cases"})[:-1]
            lines = ",\n".join(json.dumps(case) for case in made["cases"])
            path.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')
    print("\n".join(found) or "golden files: as made")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

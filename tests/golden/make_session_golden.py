#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes session.json beside this script; --check compares instead.

What golden_test.cc asks of methods, session_golden_test.cc asks of a whole session: layout, warm-up,
clipping by norm and by value, weight decay coupled and decoupled, groups with rates, decays and
clipping of their own, tensors that are frozen or take a fallback rule.

A case is a session's configuration, in the words of the wire, and the parameters after some steps,
at some elements: by torch itself in float32 (clip_grad_norm_, clip_grad_value_, the weight_decay and
the parameter groups of torch.optim), or in float64 if torch.optim lacks the method, the dialect or
the kind of decay.
"""

import fnmatch
import json
import math
import sys

from make_golden import HERE, Generator, check_peers, np, snapshots, torch, write_cases
from methods import METHODS

STEPS = 25
SAVED = (1, 3, 25)
WARMUP = 4

# The first reaches past a block of 4096 elements.
TENSORS = [("embedding", [23, 190]), ("hidden.weight", [6, 7]), ("hidden.bias", [6]),
           ("frozen", [11]), ("head.weight", [3, 6]), ("head.bias", [3])]
SIZES = [math.prod(shape) for _, shape in TENSORS]
SIZE = sum(SIZES)
ELEMENTS = list(range(0, SIZES[0], 97)) + list(range(SIZES[0], SIZE))

GROUPS = [{"tensors": "frozen", "frozen": True},
          {"tensors": "*.bias", "learning_rate_factor": 2.0, "decay_factor": 0.0,
           "max_norm": 1.0, "max_value": 0.5},
          {"tensors": "head.*", "learning_rate_factor": 0.25, "decay_factor": 3.0}]

ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

# (method, its configuration, learning rate); that of torch.optim comes first
METHOD_CONFIGS = [
    ("gradient_descent", {}, 0.02),
    ("momentum", {"dialect": "TORCH", "beta": 0.9, "dampening": 0.25}, 0.01),
    ("momentum", {"dialect": "KERAS", "beta": 0.9}, 0.01),
    ("momentum", {"dialect": "TUTORIAL", "beta": 0.9}, 0.05),
    ("nesterov", {"dialect": "TORCH", "beta": 0.9}, 0.01),
    ("nesterov", {"dialect": "KERAS", "beta": 0.9}, 0.01),
    ("nesterov", {"dialect": "TUTORIAL", "beta": 0.9}, 0.05),
    ("adagrad", {"dialect": "TORCH", "epsilon": 1e-10, "initial_accumulator": 0.0}, 0.02),
    ("adagrad", {"dialect": "KERAS", "epsilon": 1e-7, "initial_accumulator": 0.1}, 0.02),
    ("rmsprop", {"dialect": "TORCH", "alpha": 0.99, "epsilon": 1e-8, "centered": True,
                 "momentum": 0.5}, 0.001),
    ("rmsprop", {"dialect": "KERAS", "alpha": 0.9, "epsilon": 1e-7, "centered": True,
                 "momentum": 0.5}, 0.001),
    ("adam", {"dialect": "TORCH", **ADAM, "amsgrad": False}, 0.01),
    ("adam", {"dialect": "KERAS", **ADAM, "amsgrad": False}, 0.01),
    ("adam", {"dialect": "PAPER", **ADAM, "amsgrad": True}, 0.01),
    ("adamw", {"dialect": "TORCH", **ADAM, "amsgrad": True}, 0.01),
    ("adamw", {"dialect": "KERAS", **ADAM, "amsgrad": True}, 0.01),
    ("adamw", {"dialect": "PAPER", **ADAM, "amsgrad": False}, 0.01),
    ("nadam", {**ADAM, "momentum_decay": 0.004}, 0.01),
    ("lion", {"beta1": 0.9, "beta2": 0.99}, 2.0**-8),
    ("lamb", {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6}, 0.01),
    ("muon", {"beta": 0.95, "nesterov": True, "newton_schulz_steps": 5, "match_rms_adamw": True,
              "fallback_beta1": 0.9, "fallback_beta2": 0.95, "fallback_epsilon": 1e-8}, 0.002),
    # Last, so that the seeds of the cases before are what they were.
    ("adam", {"dialect": "FEDERATED", "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-3,
              "amsgrad": False}, 0.01),
]

BOTH = {"max_norm": 20.0, "max_value": 0.25}

# (clipping, kind of weight decay, groups). "own": the kind that torch.optim's class has, decoupled
# if there is no such class.
SETTINGS = [(BOTH, "coupled", GROUPS), (BOTH, "decoupled", GROUPS)]
MORE_SETTINGS = [({"max_norm": 20.0}, None, []), ({"max_value": 0.25}, "own", GROUPS[1:])]


def inputs(seed):
    """Gradients whose norm crosses what clipping allows, up and down."""
    generator = Generator(seed)
    start = generator.start(SIZE)
    return start, [generator.gradient(SIZE, step) * np.float32(2.0 ** (step % 4 - 1))
                   for step in range(1, STEPS + 1)]


def rate_of(case, step):
    return case["learning_rate"] * min(1.0, step / WARMUP)


def group_of(case, name):
    """The first whose pattern matches; {} if none does."""
    return next((group for group in case["groups"] if fnmatch.fnmatch(name, group["tensors"])), {})


def clipped_by_norm(case, groups):
    """[(max_norm, numbers of `groups`)]: the members of each group that has its own, then the rest."""
    found = [(own["max_norm"], [i for i, group in enumerate(groups) if group == own])
             for own in case["groups"] if "max_norm" in own]
    if "max_norm" in case["clipping"]:
        rest = [i for i, group in enumerate(groups) if "max_norm" not in group]
        found.append((case["clipping"]["max_norm"], rest))
    return found


def decay_of(case):
    return case["weight_decay"]["coupled"] + case["weight_decay"]["decoupled"]


def cut(flat):
    ends = np.cumsum(SIZES)
    return [flat[end - size:end] for end, size in zip(ends, SIZES)]


def by_torch(case, start, gradients):
    parameters = [torch.nn.Parameter(torch.from_numpy(part.copy()).reshape(shape))
                  for part, (_, shape) in zip(cut(start), TENSORS)]
    settings = [group_of(case, name) for name, _ in TENSORS]
    trained = []
    for parameter, group in zip(parameters, settings):
        parameter.requires_grad_(not group.get("frozen", False))
        if parameter.requires_grad:
            trained.append((parameter, group))
    row = METHODS[case["method"]]
    optimizer = getattr(torch.optim, row["torch"])(
        [{"params": [parameter], "weight_decay": decay_of(case) * group.get("decay_factor", 1.0)}
         for parameter, group in trained], lr=0.1, **row["torch_options"](case["optimizer"]))
    for step, gradient in enumerate(gradients, 1):
        for parameter, part in zip(parameters, cut(gradient)):
            if parameter.requires_grad:
                parameter.grad = torch.from_numpy(part.copy()).reshape(parameter.shape)
        for max_norm, members in clipped_by_norm(case, [group for _, group in trained]):
            torch.nn.utils.clip_grad_norm_([trained[i][0] for i in members], max_norm)
        for parameter, group in trained:
            max_value = group.get("max_value", case["clipping"].get("max_value"))
            if max_value is not None:
                torch.nn.utils.clip_grad_value_([parameter], max_value)
        for options, (_, group) in zip(optimizer.param_groups, trained):
            options["lr"] = rate_of(case, step) * group.get("learning_rate_factor", 1.0)
        optimizer.step()
        yield np.concatenate([p.detach().numpy().reshape(-1) for p in parameters])


def by_formula(case, start, gradients):
    settings = [group_of(case, name) for name, _ in TENSORS]
    tensor_of = np.repeat(np.arange(len(TENSORS)), SIZES)

    def of_elements(field, default):
        return np.array([group.get(field, default) for group in settings], np.float64)[tensor_of]

    trained = 1.0 - of_elements("frozen", False)
    rate_factor = of_elements("learning_rate_factor", 1.0) * trained
    decay_factor = of_elements("decay_factor", 1.0)
    max_value = of_elements("max_value", case["clipping"].get("max_value", np.inf))
    decoupled = case["weight_decay"]["decoupled"] * decay_factor
    w = start.astype(np.float64)
    rates = [rate_of(case, step) * rate_factor for step in range(1, STEPS + 1)]

    def prepared():
        for gradient in gradients:
            g = gradient.astype(np.float64) * trained
            for max_norm, members in clipped_by_norm(case, settings):
                there = np.isin(tensor_of, members)
                g[there] *= min(1.0, max_norm / (np.linalg.norm(g[there]) + 1e-6))
            yield np.clip(g, -max_value, max_value) + \
                case["weight_decay"]["coupled"] * decay_factor * w

    # A formula asks for a gradient when it is to take a step: w is that of before it.
    row = METHODS[case["method"]]
    if "by_tensor" in row:
        ends = np.cumsum(SIZES)
        tensors = [(number, slice(ends[number] - size, ends[number]), shape)
                   for number, (size, (_, shape)) in enumerate(zip(SIZES, TENSORS))]
        fallback = [i for i, group in enumerate(settings) if group.get("fallback", False)]
        for w in row["by_tensor"]({"config": case["optimizer"], "rates": rates, "decay": decoupled,
                                   "tensors": tensors, "fallback": fallback}, w, prepared()):
            yield w
        return
    for eta, step in zip(rates, row["formula"](case["optimizer"], prepared(), rates)):
        w = w * (1 - eta * decoupled) - step
        yield w


def case_of(method, optimizer, learning_rate, clipping, decay, groups):
    """A case without its parameters."""
    row = METHODS[method]
    own = "decoupled" if row["torch"] is None or row.get("torch_decouples", False) else "coupled"
    decay = own if decay == "own" else decay
    by_torch_itself = (row["torch"] is not None and decay in (None, own)
                       and optimizer.get("dialect", "TORCH") == "TORCH")
    weight_decay = {"coupled": 0.0, "decoupled": 0.0}
    if decay is not None:
        weight_decay[decay] = 0.05
    if decay == "decoupled" and not by_torch_itself:
        # Powers of two: 1 - eta decay is exact, or each step would round W to one side.
        learning_rate = 2.0 ** round(math.log2(learning_rate))
        weight_decay[decay] = 0.5
    if method == "muon":
        groups = [{**group, "fallback": True} if group["tensors"] == "head.*" else group
                  for group in groups]
    return {"method": method, "optimizer": optimizer, "learning_rate": learning_rate,
            "warmup_steps": WARMUP, "clipping": clipping, "weight_decay": weight_decay,
            "groups": groups, "source": "torch" if by_torch_itself else "float64"}


def golden():
    cases = []
    for number, (method, *config) in enumerate(METHOD_CONFIGS):
        is_first = all(method != earlier for earlier, *_ in METHOD_CONFIGS[:number])
        for settings in SETTINGS + (MORE_SETTINGS if is_first else []):
            case = {**case_of(method, *config, *settings), "seed": len(cases) + 1}
            start, gradients = inputs(case["seed"])
            trajectory, digits = (by_torch(case, start, gradients), 9) \
                if case["source"] == "torch" else (by_formula(case, start, gradients), 17)
            case["parameters"] = snapshots((w[ELEMENTS] for w in trajectory), SAVED, digits)
            cases.append(case)
    return {"script": "tests/golden/make_session_golden.py", "torch_version": torch.__version__,
            "numpy_version": np.__version__,
            "tensors": [{"name": name, "shape": shape} for name, shape in TENSORS],
            "elements": ELEMENTS, "num_steps": STEPS, "cases": cases}


def differences(written, made):
    """Names what stands in the file and is not made again, to 4 ulp of the largest parameter."""
    for key in "tensors", "elements", "num_steps":
        if written[key] != made[key]:
            yield key
    if len(written["cases"]) != len(made["cases"]):
        yield "the number of cases"
        return
    for number, (old, new) in enumerate(zip(written["cases"], made["cases"])):
        for key in old.keys() | new.keys():
            if key != "parameters" and old.get(key) != new.get(key):
                yield f"case {number}: {key}"
        for step in map(str, SAVED):
            x, y = np.array(old["parameters"][step]), np.array(new["parameters"][step])
            if x.shape != y.shape or np.max(np.abs(x - y)) > 4 * 2.0**-23 * np.max(np.abs(x)):
                yield f"case {number}: parameters after step {step}"


def main():
    torch.set_num_threads(1)
    check_peers()
    path = HERE / "session.json"
    made = golden()
    if "--check" in sys.argv[1:]:
        found = [f"{path.name}: {what} differs"
                 for what in differences(json.loads(path.read_text()), made)]
        print("\n".join(found) or "session golden file: as made")
        return 1 if found else 0
    write_cases(path, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())

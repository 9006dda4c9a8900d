#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes kfac.json beside this script; --check compares instead.

Trajectories of K-FAC in float64, from the formulas of core/optimizers/kfac.h and core/curvature and
from Martens, Grosse 2015, arXiv:1503.05671. Curvature is not computed as the server does it: a
layer's Fisher matrix is written out, F = A (x) S over the columns of [W b] one below the other
(section 3 of the paper), and a system of equations is solved with it; an average of factors is the
weighted mean of all that have come.

What cases share is in the head of the file: tensors, layers with their places, samples. A case has

    config          fields of KfacConfig
    seed            start; then for each step its gradient, [elements] numbers of the Generator of
                    make_golden.py, and if it has statistics `rows` (make_statistics.py) for each
                    layer, inputs before derivatives
    rates           the learning rate of each step; `rate_factors` has a factor for some tensors
    decay, coupled  weight decay; the coupled one is added to the gradient
    frozen          tensors that stay where they are; with one of its tensors a whole layer does
    statistics_at   the steps that have statistics
    input_rank      of all rows of inputs, if it is not that of noise
    of_mean_loss    the derivatives are those of the mean loss
    refresh_lag     a refresh beside the steps that begins behind step t is there before t + 1 + lag
    loss_changes    losses before and after a step, which come with the next step
    parameters      after some steps
    clip_factors, dampings, reduction_ratios, inverse_versions
                    of each step: nu, lambda, rho as far as it is known, the factors that are used
"""

import json
import math
import sys

from make_golden import HERE, Generator, np, write_cases
from make_statistics import derivative_factor, input_factor, rows

STEPS = 30
SAVED = (1, 4, 12, 30)
SAMPLES = 5
TENSORS = [("mix", [3, 1, 2, 7]), ("dense.bias", [5]), ("gain", [7]), ("conv", [5, 2, 3, 3]),
           ("conv.bias", [5]), ("dense", [9, 5]), ("table", [2, 3])]
LAYERS = [{"weight": "conv", "bias": "conv.bias", "orientation": "OUT_IN", "sharing": "EXPAND",
           "places": 4},
          {"weight": "dense", "bias": "dense.bias", "orientation": "IN_OUT", "sharing": "NONE",
           "places": 1},
          {"weight": "mix", "bias": "", "orientation": "IN_OUT", "sharing": "REDUCE", "places": 3}]
SHAPES = dict(TENSORS)
SIZE = sum(math.prod(shape) for shape in SHAPES.values())

DEFAULTS = {"damping": 0.01, "pi": "TRACE", "statistics_decay": 0.9, "starts_with_first": False,
            "burn_in_steps": 0, "kl_clip": 0.0, "fisher_clip": 0.0, "beta": 0.9,
            "momentum_order": "BEFORE", "refresh": "SYNCHRONOUS", "refresh_every": 3,
            "refresh_each_until": 5, "max_inverse_age": 0, "fallback": "ADAM",
            "fallback_rate_factor": 1.0, "fallback_beta1": 0.9, "fallback_beta2": 0.999,
            "fallback_epsilon": 1e-8, "adapt_every": 0, "adapt_factor": 0.95,
            "damping_min": 1e-8, "damping_max": 1e8}


def split(flat):
    """By tensor, with its shape."""
    tensors, begin = {}, 0
    for name, shape in TENSORS:
        size = math.prod(shape)
        tensors[name] = flat[begin:begin + size].astype(np.float64).reshape(shape)
        begin += size
    return tensors


def matrix_of(layer, tensors):
    """[W b]: a row for each output."""
    weight = tensors[layer["weight"]]
    if layer["orientation"] == "OUT_IN":
        matrix = weight.reshape(weight.shape[0], -1)
    else:
        matrix = np.moveaxis(weight, -1, 0).reshape(weight.shape[-1], -1)
    if layer["bias"]:
        matrix = np.column_stack([matrix, tensors[layer["bias"]]])
    return matrix


def tensors_from(layer, matrix):
    """What matrix_of has joined, apart again."""
    made, shape = {}, SHAPES[layer["weight"]]
    if layer["bias"]:
        matrix, made[layer["bias"]] = matrix[:, :-1], matrix[:, -1]
    if layer["orientation"] == "OUT_IN":
        made[layer["weight"]] = matrix.reshape(shape)
    else:
        made[layer["weight"]] = np.moveaxis(matrix.reshape(shape[-1], *shape[:-1]), 0, -1)
    return made


class Layer:
    """What is known of the curvature of one layer."""

    def __init__(self, shape):
        self.shape = shape
        self.seen = []  # (A, S) of each step that had statistics
        self.fisher = self.damped = None
        self.m = 0.0

    def averages(self, config):
        kept, last = config["statistics_decay"], len(self.seen) - 1
        weights = [(1 - kept) * kept**(last - k) for k in range(last + 1)]
        if config["starts_with_first"]:
            weights[0] = kept**last
        return [sum(w * pair[f] for w, pair in zip(weights, self.seen)) / sum(weights)
                for f in (0, 1)]

    def matrices(self, config, damping):
        """F, and F with each factor damped."""
        a, s = self.averages(config)
        pi = 1.0
        if config["pi"] == "TRACE":
            pi = math.sqrt((np.trace(a) / len(a)) / (np.trace(s) / len(s)))
        damped = np.kron(a + pi * math.sqrt(damping) * np.eye(len(a)),
                         s + math.sqrt(damping) / pi * np.eye(len(s)))
        return np.kron(a, s), damped


def vec(matrix):
    return matrix.ravel(order="F")


class Kfac:
    def __init__(self, case, start):
        self.case, self.config = case, {**DEFAULTS, **case["config"]}
        self.w = split(start)
        self.layers = [Layer(shape) for shape in LAYERS]
        in_layers = {shape[key] for shape in LAYERS for key in ("weight", "bias")}
        self.others = {name: (0.0, 0.0) for name in self.w if name not in in_layers}
        self.damping = self.config["damping"]
        self.adapted_at = 0
        self.foretold = 0.0  # M(d) of the last step
        self.rho = None
        self.nu = 1.0
        self.factors_of = 0     # the step whose statistics are the newest in the averages
        self.begun_from = 0     # the factors that the newest refresh has taken
        self.inverted_from = 0  # those that are in use
        self.pending = None     # a refresh beside the steps: (ready before step, factors, matrices)

    def take_loss_change(self, version, before, after):
        every, factor = self.config["adapt_every"], self.config["adapt_factor"]
        if self.foretold >= 0:  # no reduction that there could be a share of
            return
        self.rho = rho = (after - before) / self.foretold
        if version - self.adapted_at < every:
            return
        self.adapted_at = version
        if rho > 0.75:
            self.damping *= factor**every
        if rho < 0.25:
            self.damping /= factor**every
        self.damping = min(max(self.damping, self.config["damping_min"]),
                           self.config["damping_max"])

    def new_matrices(self):
        return [layer.matrices(self.config, self.damping + self.case["coupled"])
                for layer in self.layers]

    def install(self, version, matrices):
        if version < self.inverted_from:
            return
        self.inverted_from = version
        for layer, pair in zip(self.layers, matrices):
            layer.fisher, layer.damped = pair

    def refresh_in_step(self, t):
        """Ages count from the step whose statistics are the newest in the factors that a refresh has
        taken. The formulas leave that open; it is as core/curvature does it."""
        config = self.config
        if self.pending and t >= self.pending[0]:
            self.install(*self.pending[1:])
            self.pending = None
        if self.factors_of <= self.begun_from:  # nothing new
            return
        due = t <= config["refresh_each_until"]
        if config["refresh"] == "SYNCHRONOUS":
            due = due or self.begun_from == 0 or t - self.begun_from >= config["refresh_every"]
        else:
            age = config["max_inverse_age"]
            due = due or self.inverted_from == 0 or 0 < age < t - self.inverted_from
        if due:
            self.begun_from = self.factors_of
            self.install(self.factors_of, self.new_matrices())

    def refresh_beside(self, t):
        config = self.config
        if config["refresh"] == "SYNCHRONOUS" or self.pending:
            return
        if self.factors_of > self.begun_from and t - self.begun_from >= config["refresh_every"]:
            self.begun_from = self.factors_of
            self.pending = (t + 1 + self.case["refresh_lag"], self.factors_of, self.new_matrices())

    def step(self, t, gradient, statistics):
        case, config = self.case, self.config
        eta = {name: case["rates"][t - 1] * case["rate_factors"].get(name, 1.0) for name in self.w}
        g = {name: part + case["coupled"] * self.w[name] for name, part in split(gradient).items()}
        if statistics:
            self.factors_of = t
            for layer, pair in zip(self.layers, statistics):
                layer.seen.append(pair)
        self.refresh_in_step(t)
        moves = list(self.directions(t, eta, g))
        self.clip(moves)
        self.foretold = sum(-rate * self.nu * (vec(layer_g) @ u)
                            + 0.5 * (rate * self.nu)**2 * (u @ layer.damped @ u)
                            for layer, rate, layer_g, _, u in moves)
        taken = {}
        for layer, _, _, v, u in moves:
            move = self.nu * u.reshape(v.shape, order="F")
            if config["momentum_order"] == "AFTER":
                move = layer.m = config["beta"] * layer.m + (1 - config["beta"]) * move
            taken.update(tensors_from(layer.shape, move))
        for name in self.others:
            if name not in case["frozen"]:
                taken[name] = config["fallback_rate_factor"] * self.fallback(t, name, g[name])
        for name, move in taken.items():
            w = self.w[name]
            self.w[name] = w - eta[name] * case["decay"] * w - eta[name] * move
        self.refresh_beside(t)

    def directions(self, t, eta, g):
        """(layer, eta, G, V, vec U) of each layer that moves."""
        beta = self.config["beta"]
        for layer in self.layers:
            shape = layer.shape
            if {shape["weight"], shape["bias"]} & set(self.case["frozen"]):
                continue
            v = layer_g = matrix_of(shape, g)
            if self.config["momentum_order"] == "BEFORE":
                v = layer.m = beta * layer.m + (1 - beta) * layer_g
            if layer.damped is not None and t > self.config["burn_in_steps"]:
                u = np.linalg.solve(layer.damped, vec(v))
                yield layer, eta[shape["weight"]], layer_g, v, u

    def clip(self, moves):
        self.nu = 1.0
        for most, norm in ((self.config["kl_clip"], lambda layer, v, u: u @ vec(v)),
                           (self.config["fisher_clip"], lambda layer, v, u: u @ layer.fisher @ u)):
            length = sum(rate**2 * norm(layer, v, u) for layer, rate, _, v, u in moves)
            if most > 0 and length > 0:
                self.nu = min(1.0, math.sqrt(most / length))

    def fallback(self, t, name, g):
        config = self.config
        beta1, beta2 = config["fallback_beta1"], config["fallback_beta2"]
        m, v = self.others[name]
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        self.others[name] = m, v
        if config["fallback"] == "MOMENTUM":
            return m
        return (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + config["fallback_epsilon"])


def cases():
    """(config, what else the case has)"""
    momentum = {"fallback": "MOMENTUM", "fallback_beta1": 0.8}
    adam = {"fallback_beta1": 0.8, "fallback_beta2": 0.95, "fallback_epsilon": 1e-3}
    return [
        ({}, {}),
        ({"pi": "OFF"}, {"decay": 0.1}),
        ({"momentum_order": "AFTER", "kl_clip": 0.2}, {}),
        ({"beta": 0.0, "kl_clip": 0.2, "pi": "OFF"}, {}),
        ({"beta": 0.0, "momentum_order": "AFTER", "refresh_every": 7}, {"of_mean_loss": True}),
        ({"starts_with_first": True, "statistics_decay": 0.95, **momentum},
         {"statistics_at": list(range(3, 31, 2))}),
        ({"burn_in_steps": 6, "refresh_every": 5, "refresh_each_until": 0}, {"decay": 0.05}),
        ({"burn_in_steps": 3, "momentum_order": "AFTER", "beta": 0.5}, {}),
        ({"kl_clip": 0.02, "fallback_rate_factor": 0.25, **momentum},
         {"decay": 0.1, "coupled": 0.005}),
        ({"fallback_rate_factor": 0.1, "statistics_decay": 0.0, **adam}, {"coupled": 0.02}),
        ({"statistics_decay": 0.5, "damping": 1e-4, "beta": 0.5, "kl_clip": 0.5},
         {"input_rank": 3}),
        ({"fisher_clip": 0.001, "beta": 0.5}, {"coupled": 0.005}),
        ({"adapt_every": 2, "adapt_factor": 0.8, "damping_min": 0.005, "damping_max": 0.03,
          "beta": 0.5},
         {"coupled": 0.002, "ratios": [0.1, 0.24] * 4 + [0.26, 0.5, 0.74] * 2 + [0.76, 0.9, 2.0] * 5}),
        ({"refresh": "BACKGROUND", "refresh_each_until": 2, "max_inverse_age": 9},
         {"refresh_lag": 2}),
        ({"refresh": "BACKGROUND", "refresh_each_until": 2, "max_inverse_age": 5},
         {"refresh_lag": 7}),
        ({"kl_clip": 0.15, "momentum_order": "AFTER", "beta": 0.8},
         {"frozen": ["dense.bias", "table"],
          "rate_factors": {"conv": 0.5, "conv.bias": 0.5, "mix": 2.0, "gain": 0.25}}),
    ]


def statistics_of(case, generator):
    for layer in LAYERS:
        matrix = matrix_of({**layer, "bias": ""}, split(np.zeros(SIZE)))
        outputs, inputs = matrix.shape
        count = SAMPLES * layer["places"]
        a = rows(generator, count, inputs, case["input_rank"])
        g = rows(generator, count, outputs, shift=1 + 2 * case["of_mean_loss"])
        yield (input_factor(a, SAMPLES, layer["sharing"], layer["bias"] != ""),
               derivative_factor(g, SAMPLES, layer["sharing"], case["of_mean_loss"]))


def follow(case, ratios):
    """Fills in what the case comes to."""
    generator = Generator(case["seed"])
    kfac = Kfac(case, generator.start(SIZE))
    told = {"loss_changes": {}, "parameters": {}, "clip_factors": [], "dampings": [],
            "reduction_ratios": [], "inverse_versions": []}
    for t in range(1, STEPS + 1):
        gradient = generator.start(SIZE)
        has_statistics = t in case["statistics_at"]
        kfac.step(t, gradient, list(statistics_of(case, generator)) if has_statistics else None)
        told["clip_factors"].append(float(f"{kfac.nu:.10g}"))
        told["dampings"].append(kfac.damping)
        told["reduction_ratios"].append(kfac.rho)
        told["inverse_versions"].append(kfac.inverted_from)
        if t in SAVED:
            flat = np.concatenate([kfac.w[name].ravel() for name, _ in TENSORS])
            told["parameters"][str(t)] = [float(f"{x:.10g}") for x in flat]
        if t <= len(ratios):
            after = float(f"{5 + ratios[t - 1] * kfac.foretold:.12g}")
            told["loss_changes"][str(t)] = [5.0, after]
            kfac.take_loss_change(t, 5.0, after)
    clips = kfac.config["kl_clip"] > 0 or kfac.config["fisher_clip"] > 0
    # Some steps are clipped, and some are not.
    assert {nu < 1 for nu in told["clip_factors"]} == ({True, False} if clips else {False})
    return {**case, **told}


def golden():
    made = []
    for seed, (config, more) in enumerate(cases(), 1):
        ratios = more.pop("ratios", [])
        case = {"config": {**DEFAULTS, **config}, "seed": seed,
                "rates": [0.006 * (1 + t % 5) / (1 + 0.02 * t) for t in range(STEPS)],
                "rate_factors": {}, "decay": 0.0, "coupled": 0.0, "frozen": [],
                "statistics_at": [t for t in range(1, STEPS + 1) if t % 4 != 2],
                "input_rank": 0, "of_mean_loss": False, "refresh_lag": 0, **more}
        made.append(follow(case, ratios))
    return {"script": "tests/golden/make_kfac.py", "numpy_version": np.__version__,
            "tensors": [{"name": name, "shape": shape} for name, shape in TENSORS],
            "layers": LAYERS, "samples": SAMPLES, "cases": made}


def differs(old, new):
    vectors = "parameters", "loss_changes"
    numbers = "clip_factors", "dampings", "reduction_ratios"
    blank = {key: 0 for key in vectors + numbers}
    if {**old, **blank} != {**new, **blank}:
        return True
    pairs = [(np.array(old[key], float), np.array(new[key], float)) for key in numbers]
    for key in vectors:
        if old[key].keys() != new[key].keys():
            return True
        pairs += [(old[key][step], new[key][step]) for step in old[key]]
    return any(len(a) != len(b) or not np.allclose(a, b, rtol=1e-8, atol=1e-8, equal_nan=True)
               for a, b in pairs)


def main():
    path = HERE / "kfac.json"
    made = golden()
    if "--check" in sys.argv[1:]:
        written = json.loads(path.read_text())
        found = [f"{path.name}: case {number} differs"
                 for number, pair in enumerate(zip(written["cases"], made["cases"]))
                 if differs(*pair)]
        if len(written["cases"]) != len(made["cases"]):
            found.append(f"{path.name}: the number of cases differs")
        print("\n".join(found) or "kfac: as made")
        return 1 if found else 0
    write_cases(path, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())

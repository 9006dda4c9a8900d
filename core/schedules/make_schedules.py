#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes schedule_vectors.json: learning rates as PyTorch's schedulers give them.

A decay after a warm-up is a SequentialLR. Where PyTorch has no scheduler of that kind the formula
of schedule.proto stands in a LambdaLR, or, for numbers of steps that no loop reaches, in exact
rational or 60-digit arithmetic. The cases named "transformers" have the formulas of that library's
optimization.py, at current_step = t: its first step, which has the rate 0, is left out. Run the
script in this folder with an interpreter that has torch; `--check` only compares.
"""
import decimal
import json
import math
import pathlib
import sys
from fractions import Fraction

import torch
from torch.optim import lr_scheduler as torch_rates

PATH = pathlib.Path(__file__).with_name("schedule_vectors.json")
RATE = 0.3


def run(make_schedulers, steps):
    """[t, rate] of steps 1 to `steps` under one or more chained schedulers."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    schedulers = make_schedulers(optimizer)
    rates = []
    for t in range(1, steps + 1):
        rates.append([t, optimizer.param_groups[0]["lr"]])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def formula(decay, steps):
    """The rate as RATE * decay(u), u = t - 1."""
    return run(lambda optimizer: [torch_rates.LambdaLR(optimizer, decay)], steps)


def warm_up(optimizer, steps):
    return torch_rates.LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1)


def warm_up_then(make_decay, warmup_steps, steps):
    """The decay begins with the last step of the warm-up, which has the whole rate."""
    def make(optimizer):
        return [torch_rates.SequentialLR(
            optimizer, [warm_up(optimizer, warmup_steps), make_decay(optimizer)],
            milestones=[warmup_steps - 1])]
    return run(make, steps)


def transformers(decay, warmup_steps, steps):
    """lr_lambda(current_step) of a schedule with warm-up at current_step = 1, 2, ..."""
    return [[t, RATE * (t / warmup_steps if t < warmup_steps else decay(t))]
            for t in range(1, steps + 1)]


def transformers_cosine(warmup, training_steps):
    return lambda current: max(0.0, 0.5 * (1.0 + math.cos(
        math.pi * (current - warmup) / (training_steps - warmup))))


def transformers_polynomial(warmup, training_steps, power, end):
    def decay(current):
        if current > training_steps:
            return end
        left = 1 - (current - warmup) / (training_steps - warmup)
        return (1 - end) * left**power + end
    return decay


def exact(decay, steps):
    """The rate at far steps: `decay` gives a Fraction or a Decimal of u."""
    return [[t, float(Fraction(decay(t - 1)) * Fraction(RATE))] for t in steps]


def decimal_power(base, exponent):
    with decimal.localcontext() as context:
        context.prec = 60
        return decimal.Decimal(base) ** exponent


def cosine_formula(total, final):
    return lambda u: final + (1 - final) * (1 + math.cos(math.pi * min(u, total) / total)) / 2


def cases():
    def case(name, kind, fields, rates, warmup_steps=0):
        return {"name": name, "kind": kind, "fields": fields, "learning_rate": RATE,
                "warmup_steps": warmup_steps, "rates": rates}

    yield case("constant", "constant", {}, formula(lambda u: 1, 20))
    yield case("LinearLR", "constant", {}, run(lambda o: [warm_up(o, 12)], 30), 12)
    yield case("LinearLR longer than the run", "constant", {},
               run(lambda o: [warm_up(o, 1000)], 50), 1000)
    yield case("inverse_sqrt", "inverse_sqrt", {}, formula(lambda u: 1 / math.sqrt(u + 1), 60))
    yield case("inverse_sqrt, far", "inverse_sqrt", {},
               [[t, RATE / math.sqrt(t)] for t in (10**6, 2**53 + 1, 2**63, 2**64 - 1)])
    yield case("StepLR", "step", {"period_steps": 7, "factor": 0.3},
               run(lambda o: [torch_rates.StepLR(o, 7, 0.3)], 80))
    yield case("StepLR after LinearLR", "step", {"period_steps": 5, "factor": 0.5},
               warm_up_then(lambda o: torch_rates.StepLR(o, 5, 0.5), 18, 60), 18)
    yield case("ExponentialLR after LinearLR", "step", {"period_steps": 1, "factor": 0.1},
               warm_up_then(lambda o: torch_rates.ExponentialLR(o, 0.1), 5, 20), 5)
    yield case("ExponentialLR", "step", {"period_steps": 1, "factor": 0.97},
               run(lambda o: [torch_rates.ExponentialLR(o, 0.97)], 300))
    yield case("step, far", "step", {"period_steps": 10, "factor": 0.999},
               exact(lambda u: decimal_power(0.999, u // 10), (10**4, 10**5 + 1, 10**6, 5 * 10**6)))
    yield case("step, below the smallest double", "step", {"period_steps": 1, "factor": 0.1},
               exact(lambda u: Fraction(0), (2**32, 2**63, 2**64 - 1)))
    yield case("CosineAnnealingLR", "cosine", {"total_steps": 40, "final_fraction": 0.0},
               run(lambda o: [torch_rates.CosineAnnealingLR(o, 40)], 41))
    yield case("CosineAnnealingLR to a tenth", "cosine",
               {"total_steps": 33, "final_fraction": 0.1},
               run(lambda o: [torch_rates.CosineAnnealingLR(o, 33, eta_min=0.1 * RATE)], 34))
    yield case("cosine stays", "cosine", {"total_steps": 25, "final_fraction": 0.25},
               formula(cosine_formula(25, 0.25), 60))
    yield case("cosine, far", "cosine", {"total_steps": 2**62, "final_fraction": 0.0},
               exact(lambda u: Fraction(cosine_formula(2**62, 0)(u)),
                     (1, 2**60 + 1, 2**61 + 1, 3 * 2**60 + 1))
               + [[2**62 + 1, 0.0], [2**63, 0.0], [2**64 - 1, 0.0]])
    for power in (1, 2, 3, 16):
        yield case(f"PolynomialLR {power}", "polynomial",
                   {"total_steps": 45, "power": power, "final_fraction": 0.0},
                   run(lambda o: [torch_rates.PolynomialLR(o, 45, power)], 60))
    yield case("polynomial to a fifth", "polynomial",
               {"total_steps": 30, "power": 2, "final_fraction": 0.2},
               formula(lambda u: 0.2 + 0.8 * (1 - min(u, 30) / 30) ** 2, 50))
    yield case("polynomial, far", "polynomial",
               {"total_steps": 2**63, "power": 3, "final_fraction": 0.0},
               exact(lambda u: (1 - Fraction(min(u, 2**63), 2**63)) ** 3,
                     (1, 2**61 + 1, 2**62 + 1, 2**63 - 2**40, 2**63, 2**63 + 1, 2**64 - 1)))
    yield case("CosineAnnealingLR after LinearLR", "cosine",
               {"total_steps": 10, "final_fraction": 0.0},
               warm_up_then(lambda o: torch_rates.CosineAnnealingLR(o, 6), 5, 11), 5)
    yield case("CosineAnnealingLR to a tenth after LinearLR", "cosine",
               {"total_steps": 60, "final_fraction": 0.1},
               warm_up_then(lambda o: torch_rates.CosineAnnealingLR(o, 41, eta_min=0.1 * RATE),
                            20, 61), 20)
    yield case("PolynomialLR after LinearLR", "polynomial",
               {"total_steps": 50, "power": 3, "final_fraction": 0.0},
               warm_up_then(lambda o: torch_rates.PolynomialLR(o, 40, 3), 11, 60), 11)
    yield case("transformers, cosine", "cosine", {"total_steps": 40, "final_fraction": 0.0},
               transformers(transformers_cosine(15, 41), 15, 41), 15)
    yield case("transformers, linear", "polynomial",
               {"total_steps": 40, "power": 1, "final_fraction": 0.0},
               transformers(lambda c: max(0.0, (41 - c) / (41 - 15)), 15, 60), 15)
    yield case("transformers, polynomial", "polynomial",
               {"total_steps": 40, "power": 2, "final_fraction": 0.25},
               transformers(transformers_polynomial(39, 41, 2, 0.25), 39, 60), 39)
    yield case("transformers, inverse_sqrt", "inverse_sqrt", {},
               transformers(lambda c: 1 / math.sqrt(c / 30), 30, 200), 30)
    yield case("inverse_sqrt after a long warm-up, far", "inverse_sqrt", {},
               [[2**61, RATE / 2], [2**62, RATE], [2**62 + 2**60, RATE * math.sqrt(0.8)],
                [2**63, RATE * math.sqrt(0.5)], [2**64 - 1, RATE / 2]], 2**62)
    yield case("cosine after a long warm-up, far", "cosine",
               {"total_steps": 3 * 2**61 - 1, "final_fraction": 0.0},
               [[2**60, RATE / 2], [2**61, RATE], [3 * 2**60, RATE * (2 + math.sqrt(2)) / 4],
                [2**62, RATE / 2], [3 * 2**61, 0.0], [2**64 - 1, 0.0]], 2**61)


def text():
    lines = ",\n".join(" " + json.dumps(case) for case in cases())
    return ('{"script": "core/schedules/make_schedules.py",\n'
            f' "torch": "{torch.__version__}",\n "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if PATH.read_text() != text():
            sys.exit(f"{PATH.name} is not what this script makes")
    else:
        PATH.write_text(text())

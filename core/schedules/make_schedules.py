#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes schedule_vectors.json: learning rates as PyTorch's schedulers give them.

Where PyTorch has no scheduler of that kind the formula of schedule.proto stands in a LambdaLR, or,
for numbers of steps that no loop reaches, in exact rational or 60-digit arithmetic. Run it in this
folder with an interpreter that has torch; `--check` only compares.
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
               run(lambda o: [torch_rates.StepLR(o, 5, 0.5), warm_up(o, 18)], 60), 18)
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
    warm = run(lambda o: [torch_rates.LambdaLR(
        o, lambda u: min(1, (u + 1) / 50) * cosine_formula(20, 0.1)(u))], 80)
    yield case("warm-up longer than the cosine", "cosine",
               {"total_steps": 20, "final_fraction": 0.1}, warm, 50)


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

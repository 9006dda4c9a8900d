# SPDX-License-Identifier: Apache-2.0
"""The formulas, in float64, of methods that look at whole tensors; make_golden.py runs them.

A formula is handed the case, the start and the gradients, flat; it yields the parameters after each
step. Besides what make_golden.py says, a case may have the decoupled `decay` of every step and the
numbers of the tensors that take the `fallback` rule.
"""

import numpy as np

# Which class of torch.optim would be the method; make_golden.py fails when torch comes to have it.
TORCH_NAMES = {"lamb": "Lamb"}


def tensors_of(size):
    """[(number, part of the flat vector, shape)] of SpaceOf(size), core/optimizers/optimizer_testing.h"""
    tensors, left = [], size

    def add(shape):
        nonlocal left
        count = int(np.prod(shape, dtype=int))
        if 0 < count <= left:
            tensors.append((len(tensors), slice(size - left, size - left + count), shape))
            left -= count

    for shape in (), (96, 40), (5,), (17, 130), (3, 2), (8, 4, 3, 3), (64, 64):
        add(shape)
    add((left,))
    return tensors


def lamb(case, w, gradients):
    """You et al. 2020, algorithm 2: phi is the identity."""
    config, decay = case["config"], case["decay"]
    beta1, beta2, epsilon = config["beta1"], config["beta2"], config["epsilon"]
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (g, eta) in enumerate(zip(gradients, case["rates"]), 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        r = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon) + decay * w
        w = w.copy()
        for _, part, _ in tensors_of(len(w)):
            length_w, length_r = np.linalg.norm(w[part]), np.linalg.norm(r[part])
            ratio = length_w / length_r if length_w > 0 and length_r > 0 else 1.0
            w[part] -= eta * ratio * r[part]
        yield w


def lamb_cases(shapes):
    """[(what a case has besides its shape, shape)]"""
    settings = [(0.9, 0.999, 1e-6, 0.01), (0.8, 0.99, 1e-3, 0.0), (0.0, 0.5, 1e-8, 0.3),
                (0.9, 0.999, 1e-6, 0.1), (0.95, 0.9, 1e-6, 0.02)]
    six_thousand = (6100, shapes(0.01)[1][1], (50,))
    return [({"config": {"beta1": beta1, "beta2": beta2, "epsilon": epsilon}, "decay": decay}, shape)
            for (beta1, beta2, epsilon, decay), shape in
            zip(settings, [*shapes(0.01), six_thousand])]


FORMULAS = {"lamb": lamb}
CASES = {"lamb": lamb_cases}

# SPDX-License-Identifier: Apache-2.0
"""The formulas, in float64, and cases of methods that look at whole tensors; methods.py names them.

A formula is handed the case, the start and the gradients, flat; it yields the parameters after each
step. Besides what make_golden.py says, a case may have the decoupled `decay` of every step and the
numbers of the tensors that take the `fallback` rule. make_session_golden.py hands it `tensors`, as
tensors_of gives them, and rates and decays by element.
"""

import numpy as np


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


def parts_of(case, w, values):
    """`values`, one number or one per element, by tensor: [(number, part, shape, values there)]"""
    values = np.broadcast_to(values, w.shape)
    tensors = case["tensors"] if "tensors" in case else tensors_of(len(w))
    return [(number, part, shape, values[part]) for number, part, shape in tensors]


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
        for _, part, _, eta in parts_of(case, w, eta):
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


def newton_schulz(u, steps, epsilon):
    """Keller Jordan 2024; a tall matrix is iterated as its transpose."""
    if u.shape[0] > u.shape[1]:
        return newton_schulz(u.T, steps, epsilon).T
    x = u / max(np.linalg.norm(u), epsilon)  # as torch.optim.Muon of PyTorch 2.9
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


def muon(case, w, gradients):
    """Keller Jordan 2024, scales of arXiv:2502.16982; AdamW for a marked tensor or no matrix."""
    config, decay = case["config"], case["decay"]
    beta, steps = config["beta"], config["newton_schulz_steps"]
    beta1, beta2, epsilon = (config["fallback_" + name] for name in ("beta1", "beta2", "epsilon"))
    decay = np.broadcast_to(decay, w.shape)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (g, eta) in enumerate(zip(gradients, case["rates"]), 1):
        w = w.copy()
        for number, part, shape, eta in parts_of(case, w, eta):
            if len(shape) < 2 or number in case["fallback"]:
                m[part] = beta1 * m[part] + (1 - beta1) * g[part]
                v[part] = beta2 * v[part] + (1 - beta2) * g[part]**2
                move = m[part] / (1 - beta1**t) / (np.sqrt(v[part] / (1 - beta2**t)) + epsilon)
            else:
                m[part] = beta * m[part] + (1 - beta) * g[part]
                u = (1 - beta) * g[part] + beta * m[part] if config["nesterov"] else m[part]
                rows, cols = shape[0], int(np.prod(shape[1:]))
                scale = 0.2 * max(rows, cols)**0.5 if config["match_rms_adamw"] else \
                    max(1, rows / cols)**0.5
                move = scale * newton_schulz(u.reshape(rows, cols), steps,
                                             config.get("epsilon", 1e-7)).ravel()
            w[part] = w[part] - eta * decay[part] * w[part] - eta * move
        yield w


def muon_cases(shapes):
    """[(what a case has besides its shape, shape)]"""
    def case(beta, nesterov, match, steps, decay, fallback=(), **more):
        return {"config": {"beta": beta, "nesterov": nesterov, "newton_schulz_steps": steps,
                           "match_rms_adamw": match, "fallback_beta1": 0.9, "fallback_beta2": 0.95,
                           "fallback_epsilon": 1e-8, **more},
                "decay": decay, "fallback": list(fallback)}

    _, (_, varying, _), (_, short, _), _ = shapes(0.01)
    return [(case(0.95, True, True, 5, 0.1), (1003, varying, (1, 2, 10, 50))),
            (case(0.9, False, True, 5, 0.0), (1003, short, (50,))),
            (case(0.5, True, False, 3, 0.02, (3,)), (310, short, (1, 10, 50))),
            (case(0.95, False, False, 6, 0.1), (2600, varying, (50,))),
            (case(0.95, True, True, 5, 0.1, (3,)), (6100, varying, (50,))),
            # The norm of u is below epsilon in some steps, and above it in others.
            (case(0.95, True, False, 3, 0.0, epsilon=0.4), (310, short, (1, 2, 10, 50)))]

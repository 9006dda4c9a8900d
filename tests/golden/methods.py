# SPDX-License-Identifier: Apache-2.0
"""All that the golden scripts say of a method: its formula, its cases and its peer in torch.optim.

A row of METHODS, at the end, is one method:

    formula          what the method takes off W at each step, in float64 by the formulas of
                     core/optimizers, written down anew here; it is called with the configuration,
                     the gradients and the rates
    by_tensor        the formula instead, for a method that looks at whole tensors (by_tensor.py)
    cases            the cases in order; the seed of a case is its place, from 1
    torch            the class of torch.optim that has the method; None says that there is none
    torch_options    the options of that class, from the configuration
    torch_decouples  True if weight_decay of that class is decoupled
"""

import numpy as np

import by_tensor

STEPS = 50


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
    """The shape of cases with decay: the rates vary, so that 1 - eta decay rounds to either side."""
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


def adam_options(config):
    return {"betas": (config["beta1"], config["beta2"]), "eps": config["epsilon"],
            "amsgrad": config["amsgrad"]}


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

"""The optimizers a sweep may name, in plain Python: optax's own names, arguments and defaults (a test compares).

An argument that optax leaves None where zero means the same (`momentum`) is 0.0 here. Left out are arguments that
are no number, and optimizers that need more than a gradient (`lbfgs`, `polyak_sgd`, `sophia`) or are evaluated at
other parameters than they train (`schedule_free_adamw`): a task brings these as its `tx`.
"""

from typing import Any

OWN = "own"  # the name of an optimizer that a task brings

_ADAM = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}
_NADAM = {**_ADAM, "eps_root": 0.0, "nesterov": True}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adabelief": {"b1": 0.9, "b2": 0.999, "eps": 1e-16, "eps_root": 1e-16, "nesterov": False},
    "adadelta": {"rho": 0.9, "eps": 1e-6, "weight_decay": 0.0},
    "adafactor": {
        "min_dim_size_to_factor": 128,
        "decay_rate": 0.8,
        "decay_offset": 0,
        "multiply_by_parameter_scale": True,
        "clipping_threshold": 1.0,
        "eps": 1e-30,
        "factored": True,
    },
    "adagrad": {"initial_accumulator_value": 0.1, "eps": 1e-7},
    "adam": {**_ADAM, "eps_root": 0.0, "nesterov": False},
    "adamax": _ADAM,
    "adamaxw": {**_ADAM, "weight_decay": 1e-4},
    "adamw": {**_ADAM, "eps_root": 0.0, "weight_decay": 1e-4, "nesterov": False},
    "adan": {"b1": 0.98, "b2": 0.92, "b3": 0.99, "eps": 1e-8, "eps_root": 1e-8, "weight_decay": 0.0},
    "ademamix": {**_ADAM, "b3": 0.9999, "alpha": 5.0, "eps_root": 0.0, "weight_decay": 0.0},
    "adopt": {"b1": 0.9, "b2": 0.9999, "eps": 1e-6, "nesterov": False, "use_clipping": True},
    "amsgrad": {**_ADAM, "eps_root": 0.0, "bias_correction_mu": True, "bias_correction_nu": True},
    "fromage": {"min_norm": 1e-6},
    "lamb": {"b1": 0.9, "b2": 0.999, "eps": 1e-6, "eps_root": 0.0, "weight_decay": 0.0},
    "lars": {"weight_decay": 0.0, "trust_coefficient": 1e-3, "eps": 0.0, "momentum": 0.9, "nesterov": False},
    "lion": {"b1": 0.9, "b2": 0.99, "weight_decay": 1e-3},
    "muon": {
        "ns_steps": 5,
        "beta": 0.95,
        "eps": 1e-8,
        "weight_decay": 0.0,
        "nesterov": True,
        "adaptive": False,
        "adam_b1": 0.9,
        "adam_b2": 0.999,
        "adam_eps_root": 0.0,
        "adam_weight_decay": 0.0,
    },
    "nadam": _NADAM,
    "nadamw": {**_NADAM, "weight_decay": 1e-4},
    "novograd": {"b1": 0.9, "b2": 0.25, "eps": 1e-6, "eps_root": 0.0, "weight_decay": 0.0},
    "optimistic_gradient_descent": {"alpha": 1.0, "beta": 1.0},
    "radam": {**_ADAM, "eps_root": 0.0, "threshold": 5.0, "nesterov": False},
    "rmsprop": {
        "decay": 0.9,
        "eps": 1e-8,
        "initial_scale": 0.0,
        "eps_in_sqrt": True,
        "centered": False,
        "momentum": 0.0,
        "nesterov": False,
        "bias_correction": False,
    },
    "rprop": {"eta_minus": 0.5, "eta_plus": 1.2, "min_step_size": 1e-6, "max_step_size": 50.0},
    "sgd": {"momentum": 0.0, "nesterov": False},
    "sign_sgd": {},
    "signum": {"beta": 0.9},
    "sm3": {"momentum": 0.9},
    "yogi": {"b1": 0.9, "b2": 0.999, "eps": 1e-3},
}

# These look at each parameter array as a whole: its norm, its rows and columns, its shape.
SHAPE_AWARE = frozenset({"adafactor", "fromage", "lamb", "lars", "muon", "novograd", "sm3"})
# Means over an array, which padding would change: sizes need programs of their own. A task's may do anything.
UNPADDABLE = frozenset({"adafactor", OWN})
# These also take a mask of the arrays to decay; the argument's name.
DECAY_MASKS = {
    **dict.fromkeys(("adamaxw", "adamw", "adan", "ademamix", "lamb", "lion", "nadamw"), "mask"),
    **dict.fromkeys(("adadelta", "lars", "muon"), "weight_decay_mask"),
}

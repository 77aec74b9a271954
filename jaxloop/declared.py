"""The names jaxloop knows, in plain Python: a sweep is checked against them before JAX is loaded.

A default's type is its kind: a float is traced (one program serves all values), an int, bool or str is static
(each value compiles a program), except the counts in `TRACED_INTS`, which are traced as well.
"""

from typing import Any

TRACED_INTS = ("steps", "warmup_steps", "seed")

OPTIMIZERS: dict[str, dict[str, Any]] = {  # optax's own argument names and defaults (checked by a test)
    "sgd": {"momentum": 0.0, "nesterov": False},
    "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
    "adamw": {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 1e-4},
    "lion": {"b1": 0.9, "b2": 0.99, "weight_decay": 1e-3},
    "rmsprop": {"decay": 0.9, "eps": 1e-8, "momentum": 0.0},
}
SCHEDULES = ("constant", "linear", "cosine", "warmup_stable_decay")
MODELS = ("linear", "mlp")
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")

ENGINE: dict[str, Any] = {
    "seed": 0,
    "batch_size": 100,
    "learning_rate": 1e-3,
    "optimizer": "adamw",
    "schedule": "constant",
    "warmup_steps": 0,
    "end_factor": 0.0,
    "decay_fraction": 0.2,
}
OPTIONAL: dict[str, Any] = {"clip": 1.0}  # no default: absent, nothing is clipped

CLASSIFIER: dict[str, Any] = {
    "model": "mlp",
    "width": 100,
    "depth": 2,
    "activation": "relu",
    "residual": False,
    "label_smoothing": 0.0,
}
TASKS: dict[str, dict[str, Any]] = {"mnist1d": CLASSIFIER, "digits": CLASSIFIER}

DATA: dict[str, dict[str, Any]] = {  # options of each dataset; mnist1d's are its generator's own
    "mnist1d": {
        "num_samples": 5000,
        "train_split": 0.8,
        "validation_split": 0.2,
        "corr_noise_scale": 0.25,
        "iid_noise_scale": 0.02,
        "scale_coeff": 0.4,
        "shear_scale": 0.75,
        "max_translation": 48,
        "final_seq_length": 40,
        "shuffle_seq": False,
        "label_noise": 0.0,
        "seed": 42,
    },
    "digits": {"validation_split": 0.15, "test_split": 0.2, "label_noise": 0.0, "seed": 42},
}

CHOICES = {
    "optimizer": tuple(OPTIMIZERS),
    "schedule": SCHEDULES,
    "model": MODELS,
    "activation": ACTIVATIONS,
}
DIRECTIONS = {"loss": "min", "accuracy": "max"}  # of the metrics that say themselves what is better
LARGEST_INT, LARGEST_FLOAT = 2**31 - 1, 3.4e38  # of the int32 and float32 that a program computes with
# Inclusive bounds (low, high); None is open.
BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "seed": (0, 2**32 - 1),
    "batch_size": (1, 2**31 - 1),
    "learning_rate": (0, None),
    "weight_decay": (0, None),
    "warmup_steps": (0, 2**31 - 1),
    "steps": (1, 2**31 - 1),
    "end_factor": (0, 1),
    "decay_fraction": (0, 1),
    "momentum": (0, 1),
    "b1": (0, 1),
    "b2": (0, 1),
    "decay": (0, 1),
    "eps": (0, None),
    "clip": (0, None),
    "width": (1, None),
    "depth": (0, None),
    "label_smoothing": (0, 1),
    "num_samples": (20, None),
    "train_split": (0.01, 0.99),
    "validation_split": (0.01, 0.9),
    "test_split": (0.01, 0.9),
    "label_noise": (0, 1),
}


def is_traced(name: str, default: Any) -> bool:
    """Whether members of one program may differ in this hparam."""
    return isinstance(default, float) or name in TRACED_INTS


def direction(metric: str, mode: str = "auto") -> str | None:
    """ "max" or "min"; None where the mode is "auto" and the metric's name does not tell."""
    return DIRECTIONS.get(metric.rpartition("/")[2]) if mode == "auto" else mode


def known(task: dict[str, Any]) -> dict[str, Any]:
    """Every hparam that a sweep of this task may name, with a value of the type it wants."""
    arguments = {name: value for table in OPTIMIZERS.values() for name, value in table.items()}
    return {**ENGINE, **OPTIONAL, "steps": 1, **arguments, **task}


def floats(task: dict[str, Any]) -> set[str]:
    """The hparams for which an integer in a sweep means a float."""
    return {name for name, value in known(task).items() if isinstance(value, float)}

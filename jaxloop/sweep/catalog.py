"""The names jaxloop knows, in plain Python: a sweep is checked against them before JAX is loaded.

A default's type is its kind (`hparams.kind_of`): a float is traced, a `Size` padded, a `Choice` switched, and one
program serves all values; any other int, bool or str is static, and each value needs a program of its own.
"""

from typing import Any

from jaxloop.sweep.sizes import choice, size

TRACED_INTS = ("steps", "warmup_steps", "seed", "fold", "train_examples")
SCHEDULES = ("constant", "linear", "cosine", "warmup_stable_decay")
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
REPLICATES = ("seed", "fold")  # members that differ in these alone are one config

ENGINE: dict[str, Any] = {
    "seed": 0,
    "batch_size": 100,
    "learning_rate": 1e-3,
    "optimizer": "adamw",
    "weight_decay_on": "all",
    "schedule": choice(*SCHEDULES),
    "warmup_steps": 0,
    "end_factor": 0.0,
    "decay_fraction": 0.2,
    "precision": "float32",
    "matmul_precision": "default",
}
OPTIONAL: dict[str, Any] = {  # no default: where absent, there is no such thing
    "clip": 1.0,
    "adam_learning_rate": 1e-3,
    "ema_decay": 0.999,
    "train_examples": 1,
    "fold": 0,
    "folds": 2,
    "resample": False,
}
ENGINE_NAMES = frozenset({*ENGINE, *OPTIONAL, "steps"})  # that no task may give to hparams of its own

_MUP: dict[str, Any] = {"parametrization": "standard", "base_width": 64}
MODELS: dict[str, dict[str, Any]] = {  # that classify, each with its own hparams
    "linear": {},
    "mlp": {
        "width": size(100),
        "depth": size(2),
        "activation": choice(*ACTIVATIONS),
        "residual": False,
        "scan_layers": False,
        "dropout": 0.0,
        **_MUP,
    },
    "cnn": {"channels": size(25), "conv_layers": 3, "activation": choice(*ACTIVATIONS), "dropout": 0.0},
    "gru": {"width": size(6), "bidirectional": True},
    "transformer": {
        "width": size(64),
        "depth": size(2),
        "heads": size(4),
        "head_width": size(16),
        "mlp_factor": 4,
        "activation": choice("gelu", "relu", "silu", "tanh"),
        "positions": "rope",
        "norm": "rms",
        "scan_layers": False,
        "dropout": 0.0,
        "causal": False,
        **_MUP,
    },
}
LANGUAGE_MODELS = {"transformer": {**MODELS["transformer"], "tied": True, "causal": True}}

_EVERY: dict[str, Any] = {"batch_size": size(100), "init_scale": 1.0}
CLASSIFIER: dict[str, Any] = {**_EVERY, "model": "mlp", "label_smoothing": 0.0, "label_noise": 0.0}
REGRESSOR: dict[str, Any] = {**_EVERY, "model": "mlp"}
LANGUAGE: dict[str, Any] = {**_EVERY, "batch_size": size(16), "model": "transformer"}
TASKS: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {  # hparams, and those of each model
    "mnist1d": (CLASSIFIER, MODELS),
    "digits": (CLASSIFIER, MODELS),
    "modular_addition": (CLASSIFIER, MODELS),
    "sparse_parity": (CLASSIFIER, MODELS),
    "text": (LANGUAGE, LANGUAGE_MODELS),
}
TOLD_BY_DATA = ("arrays",)  # tasks whose hparams depend on what their data hold

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
    "modular_addition": {"p": 97, "operation": "add", "train_fraction": 0.4, "seed": 42},
    "sparse_parity": {
        "bits": 30,
        "relevant": 3,
        "num_samples": 10_000,
        "validation_split": 0.1,
        "test_split": 0.1,
        "seed": 42,
    },
    "text": {
        "path": "",
        "tokens": "uint8",
        "from_disk": False,
        "context": 64,
        "validation_split": 0.05,
        "test_split": 0.05,
    },
    "arrays": {"path": "", "validation_split": 0.15, "test_split": 0.15, "seed": 42},
}

REQUIRED = {"arrays": {"path": "the path of an .npz file that holds x and y"}}  # options without a default

CHOICES = {
    "weight_decay_on": ("all", "weights"),
    "precision": ("float32", "bfloat16"),
    "matmul_precision": ("default", "bfloat16", "tensorfloat32", "float32"),
    "parametrization": ("standard", "mup"),
    "positions": ("rope", "learned"),
    "norm": ("layer", "rms"),
    "operation": ("add", "subtract", "multiply"),
    "tokens": ("uint8", "uint16"),
}
DIRECTIONS = {
    "loss": "min",
    "accuracy": "max",
    "bits_per_byte": "min",
}  # what is better
TRAINING_METRICS = ("loss", "learning_rate", "grad_norm")
METRICS = {"text": ("loss", "bits_per_byte", "accuracy")}  # of tasks that ship; of the others, loss and accuracy
LARGEST_INT, LARGEST_FLOAT = 2**31 - 1, 3.4e38  # of the int32 and float32 that a program computes with
# Inclusive bounds (low, high); None is open.
BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "seed": (0, 2**32 - 1),
    "batch_size": (1, 2**31 - 1),
    "learning_rate": (0, None),
    "adam_learning_rate": (0, None),
    "weight_decay": (0, None),
    "warmup_steps": (0, 2**31 - 1),
    "steps": (1, 2**31 - 1),
    "end_factor": (0, 1),
    "decay_fraction": (0, 1),
    "ema_decay": (0, 1),
    "train_examples": (1, 2**31 - 1),
    "fold": (0, 2**31 - 1),
    "folds": (2, 2**31 - 1),
    "momentum": (0, 1),
    "b1": (0, 1),
    "b2": (0, 1),
    "b3": (0, 1),
    "beta": (0, 1),
    "rho": (0, 1),
    "adam_b1": (0, 1),
    "adam_b2": (0, 1),
    "decay": (0, 1),
    "eps": (0, None),
    "clip": (0, None),
    "ns_steps": (1, 100),
    "width": (1, None),
    "depth": (0, None),
    "channels": (1, None),
    "conv_layers": (1, None),
    "heads": (1, None),
    "head_width": (2, None),
    "mlp_factor": (1, None),
    "base_width": (1, None),
    "dropout": (0, 0.999),
    "init_scale": (0, None),
    "label_smoothing": (0, 1),
    "num_samples": (20, None),
    "p": (3, 1000),
    "train_fraction": (0.01, 0.99),
    "bits": (1, None),
    "relevant": (1, None),
    "context": (1, None),
    "train_split": (0.01, 0.99),
    "validation_split": (0.01, 0.9),
    "test_split": (0.01, 0.9),
    "label_noise": (0, 1),
}


def measured(task: str) -> list[str] | None:
    """Return the metrics of a task that ships; None if they depend on its data, or the task is a user's."""
    if task not in TASKS:
        return None
    splits = {
        "train": TRAINING_METRICS,
        **dict.fromkeys(("validation", "test"), METRICS.get(task, ("loss", "accuracy"))),
    }
    return [f"{split}/{name}" for split, names in splits.items() for name in names]


def undirected(metric: str, option: str) -> str:
    """Return the rule that a metric breaks whose `direction` cannot be inferred, and the option that gives it."""
    return f"cannot infer a direction for `{metric}`: set {option} to max or min"


def direction(metric: str, mode: str = "auto") -> str | None:
    """Return "max" or "min"; None if the mode is "auto" and cannot be inferred from the metric's name."""
    return DIRECTIONS.get(metric.rpartition("/")[2]) if mode == "auto" else mode

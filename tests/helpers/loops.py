"""A loop that trains in seconds, and one that searches two optimizers."""

LOOP = """
[run]
task = "digits"
steps = 40
evaluate_every = 20
[hparams]
batch_size = 32
depth = 1
[baseline]
learning_rate = 1e-4
width = 8
[axes]
learning_rate = { log = [1e-5, 1e-1] }
width = { log = [4, 16] }
activation = { values = ["relu", "tanh"] }
[evaluate]
metric = "validation/loss"
[loop]
rounds = 2
configs = 8
promote = 2
floor_seeds = 4
audit_seeds = 4
[verdict]
looks = [3, 6]
shares = [0.4, 0.6]
smallest_effect = 0.01
[checkpoint]
every = 20
keep = "none"
"""

CASES = (
    LOOP.replace("[baseline]\nlearning_rate = 1e-4\nwidth = 8\n", "")
    .replace("learning_rate = { log = [1e-5, 1e-1] }\n", "")
    .replace(
        "[evaluate]",
        '[cases.adamw]\noptimizer = "adamw"\nlearning_rate = { log = [1e-5, 1e-3] }\nclip = 1.0\n'
        '[cases.sgd]\noptimizer = "sgd"\nlearning_rate = { log = [1e-2, 1e0] }\n'
        "momentum = { linear = [0.0, 0.95] }\n"
        "[evaluate]",
    )
)

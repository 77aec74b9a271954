"""The sweeps of kinds of training runs, which tests/tasks/test_kinds.py trains."""

KINDS = {  # with what makes them short
    "batchnorm_cnn": ("axes.channels={values=[2]}",),
    "byol": (),
    "curriculum": (),
    "f1": (),
    "gan_ring": (),
    "graph": (),
    "lbfgs": ("axes.l2={values=[1e-2, 1e-1]}",),
    "neural_ode": (),
    "own_optimizer": (),
    "ppo_cartpole": (),
    "sam": (),
}

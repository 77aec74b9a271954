"""The sweeps of kinds of training runs, which tests/tasks/test_kinds.py trains."""

# of those whose steps are slow, or amplify what compilers round differently
FEWER_STEPS = ("run.steps=30", "run.evaluate_every=15")
KINDS = {  # with what makes them short
    "batchnorm_cnn": ("axes.channels={values=[2]}",),
    "byol": (),
    "curriculum": (),
    "f1": (),
    "gan_ring": FEWER_STEPS,
    "graph": (),
    "lbfgs": ("axes.l2={values=[1e-2, 1e-1]}",),
    "neural_ode": FEWER_STEPS,
    "own_optimizer": (),
    "ppo_cartpole": (*FEWER_STEPS, "axes.entropy_coefficient={values=[0.01]}"),
    "sam": (),
}

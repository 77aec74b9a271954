"""What a user brings: pure functions of ONE member."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax

from jaxloop.core.data import Data
from jaxloop.sweep.optimizers import OWN

Params = Any
Batch = dict[str, jax.Array]
Hparams = Mapping[str, Any]
Metrics = dict[str, jax.Array]


def _plain(value: Any) -> Any:
    """Return an hparam's default; a scalar of NumPy or JAX as the Python number that it is."""
    is_scalar = hasattr(value, "item") and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else value


def _plain_values(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in table.items()}


def _no_multipliers(params: Params, hparams: Hparams) -> Any:
    return None


def _matrices_and_larger(params: Params, hparams: Hparams) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)


def _matrices(params: Params, hparams: Hparams) -> Any:
    return jax.tree.map(lambda leaf: int(leaf.ndim == 2), params)


FORMS = ("loss", "stateful_loss", "update")  # of which a task has one


@dataclass(frozen=True)
class Task:
    """A training problem, written for one member; it never sees the population axis.

    One of three fields says how a step is taken. What `init` gives follows from it, and is what `metrics` and
    `done` get:

    - `loss`: jaxloop takes a gradient step of the parameters, by the sweep's optimizer. `init` gives parameters.
    - `stateful_loss`: the same for a loss that also needs the step, or keeps a state that is no parameter, such as
      the running statistics of BatchNorm. `init` gives `(params, state)`.
    - `update`: the task takes the step itself. `init` gives a state: any pytree of arrays, PRNG keys too.

    Attributes:
      init: `(key, hparams) -> params`, `(params, state)` or a state; parameters are float arrays.
      loss: `(params, batch, key, hparams) -> (scalar, {metric: value})`.
      metrics: `(what init gives, batch, hparams) -> {metric: value}`, means over the batch; averaged over a split.
        A value is a scalar, or an array to be kept beside the curves. None: only what a step measures is.
      report: `({name: mean}, hparams) -> {metric: value}`: metrics of a split that are no means over examples,
        such as F1 or perplexity, computed from means that are. None: `metrics` gives them all.
      data: the splits; empty for a task that makes its own.
      hparams: defaults by name. A float is traced, a `jaxloop.size` padded, a `jaxloop.choice` switched:
        members may differ in it within one program. Any other int, bool or str is static: members that differ
        in it need programs of their own. A loss that weighs its examples by `batch["weight"]`, (batch_size,)
        float32 of 1 for an example and 0 for padding, declares its `batch_size` as a size.
      models: further hparams, by the value of the hparam `model` that brings them.
      learning_rate_multipliers: `(params, hparams) -> pytree of scalars`, one for each array, that multiply its
        update; None for no multipliers.
      decay_mask: `(params, hparams) -> pytree of bools`: which arrays decay where the hparam `weight_decay_on` is
        "weights"; by default those with two axes or more, so neither biases nor norms.
      hidden: `(params, hparams) -> pytree of ints`: how many leading axes a hidden matrix sums over; 0 for all
        other arrays. muon orthogonalizes hidden matrices; by default all arrays with two axes.
      stateful_loss: `(params, state, batch, key, step, hparams) -> (scalar, (state, {metric: value}))`.
      update: `(state, batch, key, step, hparams) -> (state, {metric: value})`; the state keeps its structure,
        shapes and dtypes. `jaxloop.optimizer(hparams, step)` is the sweep's optimizer. A member diverges where
        `params`, or the metric "loss" if there is one, is not finite; all else of the state may be infinite.
      params: `(state) -> params` of `update`'s state, which are exported and have to stay finite; by default all.
      tx: `(hparams, step) -> optax.GradientTransformation`: the task's own optimizer. A sweep calls it "own", and
        uses it unless it names another. It gets `value`, `grad` and `value_fn`, as `optax.lbfgs` needs.
      eval_params: `(opt_state, params) -> params` to measure and export, where `tx` trains others, such as
        `optax.contrib.schedule_free_eval_params`.
      done: `(what init gives, hparams) -> bool`: whether a member ends, as finished, before its last step.

    Raises:
      TypeError: the fields do not make one form.
    """

    init: Callable[[jax.Array, Hparams], Any]
    loss: Callable[[Params, Batch, jax.Array, Hparams], tuple[jax.Array, Metrics]] | None = None
    metrics: Callable[[Any, Batch, Hparams], Metrics] | None = None
    data: Data = field(default_factory=Data)
    hparams: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learning_rate_multipliers: Callable[[Params, Hparams], Any] = _no_multipliers
    decay_mask: Callable[[Params, Hparams], Any] = _matrices_and_larger
    hidden: Callable[[Params, Hparams], Any] = _matrices
    report: Callable[[Metrics, Hparams], Metrics] | None = None
    stateful_loss: Callable[..., tuple[jax.Array, tuple[Any, Metrics]]] | None = None
    update: Callable[[Any, Batch, jax.Array, jax.Array, Hparams], tuple[Any, Metrics]] | None = None
    params: Callable[[Any], Params] | None = None
    tx: Callable[[Hparams, jax.Array], Any] | None = None
    eval_params: Callable[[Any, Params], Params] | None = None
    done: Callable[[Any, Hparams], jax.Array] | None = None
    # what `core.memo.memoized` keeps: it refers to the task, and is kept here so that both are freed together
    traced: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if rule := self._malformed():
            raise TypeError(f"jaxloop.Task: {rule}")
        models = {model: _plain_values(table) for model, table in self.models.items()}
        object.__setattr__(self, "hparams", _plain_values(self.hparams))
        object.__setattr__(self, "models", models)

    @property
    def form(self) -> str:
        """Which of `FORMS` says how a step is taken."""
        return next(form for form in FORMS if getattr(self, form))

    @property
    def optimizer(self) -> str | None:
        """The optimizer that a sweep gets which names none, if the task has one of its own."""
        return OWN if self.tx else None

    def _of_jaxloops_steps(self) -> str | None:
        """Return a field that is set and that only a gradient step of jaxloop's would see, if any."""
        defaults = {
            "learning_rate_multipliers": _no_multipliers,
            "decay_mask": _matrices_and_larger,
            "hidden": _matrices,
        }
        return next((name for name, default in defaults.items() if getattr(self, name) is not default), None)

    def _malformed(self) -> str | None:
        """Return the rule that its fields break together, if any."""
        if not isinstance(self.data, Data):
            got = type(self.data).__name__
            return f"`data` needs a jaxloop.Data, such as jaxloop.Data(train={{'x': x}}), got a {got}"
        given = [form for form in FORMS if getattr(self, form)]
        if len(given) != 1:
            got = f"got {' and '.join(given)}" if given else "got none"
            return f"needs one of {', '.join(f'`{form}`' for form in FORMS)}, {got}"
        return (self._misplaced_beside_update() if self.update else self._misplaced_beside_a_loss()) or (
            self._unmeasured()
        )

    def _misplaced_beside_update(self) -> str | None:
        if self.tx or self.eval_params:
            return "`tx` and `eval_params` are of gradient steps: `update` applies its own optimizer"
        if ignored := self._of_jaxloops_steps():
            return f"`{ignored}` is of gradient steps that jaxloop takes: `update` takes its own"
        return None

    def _misplaced_beside_a_loss(self) -> str | None:
        if self.params:
            return f"`params` is of `update`: parameters of `{self.form}` are what `init` gives"
        if self.eval_params and not self.tx:
            return "`eval_params` needs a `tx`, whose state it reads"
        if self.data.train is None:
            return f"`{self.form}` needs batches: give `data` a training split"
        return None

    def _unmeasured(self) -> str | None:
        """Return what is wrong between the metrics and the splits to measure them on."""
        if self.report and not self.metrics:
            return "`report` needs `metrics`, whose means it gets"
        measured = [*self.data.evaluated(), *(["test"] if self.data.test is not None else [])]
        if measured and not self.metrics:
            return f"needs `metrics` to measure on data.{measured[0]}"
        if self.metrics and not measured and self.data.train is not None:
            return "`metrics` needs a split to measure on: give `data` a validation split"
        return None

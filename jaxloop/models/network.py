"""A named flax NNX module as pure functions of parameters: what the shipped tasks are made of."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from jaxloop.core.task import Hparams, Params
from jaxloop.models import mup
from jaxloop.models.cnn import CNN
from jaxloop.models.gru import Recurrent
from jaxloop.models.mlp import MLP, Linear
from jaxloop.models.transformer import Decoder, SequenceClassifier


class Model(Protocol):
    """A network as a class: built for inputs of a shape, without the batch axis, and so many outputs.

    With `rngs=None`, parameters have the right shapes, but nothing is drawn.
    """

    def __init__(
        self, shape: tuple[int, ...], outputs: int, hparams: Hparams, *, rngs: nnx.Rngs | None
    ) -> None: ...

    def __call__(self, x: jax.Array, hparams: Hparams, key: jax.Array | None) -> jax.Array:
        """Return outputs of a batch; `key` is for dropout, and none is drawn without it."""
        ...

    @staticmethod
    def role(path: tuple[Any, ...]) -> tuple[mup.Role, int]:
        """Return an array's role, and how many leading axes a hidden matrix sums over (-1: all but one)."""
        ...


READERS: dict[str, type[Model]] = {
    "linear": Linear,
    "mlp": MLP,
    "cnn": CNN,
    "gru": Recurrent,
    "transformer": SequenceClassifier,
}
DECODERS: dict[str, type[Model]] = {"transformer": Decoder}


class Network(NamedTuple):
    """The model that the hparam `model` names, as functions.

    init: `(key, hparams) -> params`.
    apply: `(params, x, hparams, key) -> outputs`.
    learning_rate_multipliers, hidden: as `Task` describes them.
    """

    init: Callable[[jax.Array, Hparams], Params]
    apply: Callable[..., jax.Array]
    learning_rate_multipliers: Callable[[Params, Hparams], Any]
    hidden: Callable[[Params, Hparams], Any]


def network(models: Mapping[str, type[Model]], shape: tuple[int, ...], outputs: int) -> Network:
    """Return the functions of whichever of `models` a member has."""

    def build(hparams: Hparams, rngs: nnx.Rngs | None) -> Any:
        return models[hparams["model"]](shape, outputs, hparams, rngs=rngs)

    def init(key: jax.Array, hparams: Hparams) -> Any:
        return nnx.to_pure_dict(nnx.state(build(hparams, nnx.Rngs(params=key)), nnx.Param))

    def apply(params: Any, x: jax.Array, hparams: Hparams, key: jax.Array | None = None) -> Any:
        abstract = nnx.eval_shape(lambda: build(hparams, None))
        graph, state = nnx.split(abstract, nnx.Param)
        nnx.replace_by_pure_dict(state, params)
        if jnp.issubdtype(x.dtype, jnp.floating):
            x = x.astype(jax.tree.leaves(params)[0].dtype)  # computes in the parameters' precision
        return nnx.merge(graph, state)(x, hparams, key)

    def roles(params: Params, hparams: Hparams, of: Callable[..., Any]) -> Any:
        role = models[hparams["model"]].role

        def at(path: Any, leaf: Any) -> Any:
            return of(*role(tuple(part.key for part in path)), leaf)

        return jax.tree_util.tree_map_with_path(at, params)

    def learning_rate_multipliers(params: Any, hparams: Hparams) -> Any:
        if hparams.get("parametrization", "standard") == "standard":
            return None
        return roles(params, hparams, lambda role, inputs, leaf: mup.rate(role, hparams))

    def hidden(params: Any, hparams: Hparams) -> Any:
        return roles(
            params,
            hparams,
            lambda role, inputs, leaf: inputs % leaf.ndim if role is mup.Role.HIDDEN else 0,
        )

    return Network(init, apply, learning_rate_multipliers, hidden)

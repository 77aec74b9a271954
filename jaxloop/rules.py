"""What a sweep must obey: keys and names that exist, values in bounds, no member twice. Each rule, said once."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from jaxloop import declared
from jaxloop.axes import Axis, points, size
from jaxloop.document import Checkpoint, Document, Evaluate, Population, Run
from jaxloop.errors import not_one_of, unknown
from jaxloop.places import Places

SECTIONS = {"run": Run, "population": Population, "evaluate": Evaluate, "checkpoint": Checkpoint}


def explained(error: ValidationError, places: Places) -> Iterator[str]:
    """Pydantic's findings in the user's terms, each once."""
    seen = set()
    for problem in error.errors():
        kind = problem["type"]
        path = tuple(str(part) for part in problem["loc"])
        if kind != "missing":
            path = places.longest_known(path)  # pydantic goes on into the branches of a union
        message = problem["msg"].removeprefix("Value error, ")
        if kind == "extra_forbidden":
            message = unknown("key", path[-1], _keys(path[:-1]))
        elif kind not in ("missing", "value_error"):
            message += f", got {problem['input']!r}"
        line = places.say(path, message)
        if line not in seen:
            seen.add(line)
            yield line


def _keys(section: tuple[str, ...]) -> Iterable[str]:
    if section[:1] == ("axes",):
        return Axis.model_fields
    return (SECTIONS.get(section[0], Document) if section else Document).model_fields


def broken(document: Document, task: dict[str, Any] | None, places: Places) -> Iterator[str]:
    """What is wrong with the names and values of a well-formed document.

    Args:
      task: the hparams that its task declares; None where they are not known.
    """
    known = declared.known(task or {})
    for section, given in (("hparams", document.hparams), ("axes", document.axes)):
        for key in given:
            if key not in known and task is not None:
                yield places.say((section, key), unknown("hparam", key, known))
            elif section == "axes" and key in document.hparams:
                yield places.say((section, key), f"`{key}` is fixed in [hparams] as well")
    if "steps" in document.hparams:
        yield places.say(("hparams", "steps"), "the step budget belongs in `run.steps` (or is an axis)")
    population = document.population
    draws = population.sampler in ("random", "sobol")
    if population.members and not draws:
        yield places.say(("population", "members"), f"goes with random or sobol, not {population.sampler}")
    for name, axis in document.axes.items():
        if (axis.log or axis.linear) and not axis.num and not draws:
            yield places.say(("axes", name), f"needs `num`, how many points, with {population.sampler}")
    total = size(document.axes, population.sampler, population.members)
    if total > population.max_members:
        rule = f"{total} members are more than population.max_members = {population.max_members}"
        yield places.say(("axes",), rule)
    else:
        yield from _broken_values(document, known, task or {}, places)
    yield from _broken_data(document, places)


def _broken_values(
    document: Document, known: dict[str, Any], task: dict[str, Any], places: Places
) -> Iterator[str]:
    used = set(_values(document, "optimizer"))
    for section, names in (("hparams", document.hparams), ("axes", document.axes)):
        for name in names:
            if name not in known:
                continue
            takers = {optimizer for optimizer, arguments in declared.OPTIMIZERS.items() if name in arguments}
            if takers and name not in task and not takers & used:
                rule = f"no optimizer of this sweep takes `{name}` (used: {', '.join(sorted(map(str, used)))})"
                yield places.say((section, name), rule)
            for value in _values(document, name):
                if rule := _broken_value(name, value, known[name]):
                    yield places.say((section, name), rule)


def _broken_data(document: Document, places: Places) -> Iterator[str]:
    if document.run.task not in declared.DATA:
        return  # a user's task checks its own options
    options = declared.DATA[document.run.task]
    for key, value in document.data.items():
        if key not in options:
            yield places.say(("data", key), unknown("option", key, options))
        elif rule := _broken_value(key, value, options[key]):
            yield places.say(("data", key), rule)


def _values(document: Document, name: str) -> list[Any]:
    """All values that a sweep gives an hparam, or the ends that they lie between."""
    if name in document.axes:
        return points(document.axes[name], whole=True)
    return [document.hparams.get(name, declared.ENGINE.get(name))]


def _broken_value(name: str, value: Any, default: Any) -> str | None:
    """The rule that a value breaks, if any; a default's type is the type that its name wants."""
    if name in declared.CHOICES:
        choices = declared.CHOICES[name]
        return None if value in choices else not_one_of(value, choices)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    low, high = declared.BOUNDS.get(name, (None, None))
    largest = declared.LARGEST_FLOAT if isinstance(default, float) else declared.LARGEST_INT
    if isinstance(default, bool):
        rule = None if isinstance(value, bool) else "true or false"
    elif isinstance(default, str):
        rule = None if isinstance(value, str) else "a string"
    elif isinstance(default, float) and not number:
        rule = "a number"
    elif isinstance(default, int) and not (number and isinstance(value, int)):
        rule = "an integer"
    elif high is None and abs(value) > largest:
        rule = f"at most {largest:g}, what a device's number can hold"
    elif (low is not None and value < low) or (high is not None and value > high):
        rule = f"a value from {low} to {high}" if high is not None else f"at least {low}"
    else:
        rule = None
    return rule and f"needs {rule}, got {value!r}"


def repeated(digests: list[str], places: Places) -> Iterator[str]:
    """The first pair of members that are the same."""
    seen: dict[str, int] = {}
    for number, digest in enumerate(digests):
        first = seen.setdefault(digest, number)
        if first != number:
            yield places.say(("axes",), f"members {first} and {number} are the same: an axis repeats a value")
            return

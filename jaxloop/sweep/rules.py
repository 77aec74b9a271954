"""What a sweep must obey: keys and names that exist, values in bounds, no member twice. Each rule, said once."""

from collections.abc import Container, Iterator
from typing import Any

from pydantic import ValidationError

from jaxloop.sweep import catalog, loop_rules
from jaxloop.sweep.axes import Axis, extremes, length, single
from jaxloop.sweep.hparams import UNREAD, Namespace, is_tunable, kind_of, namespace
from jaxloop.sweep.optimizers import OWN
from jaxloop.sweep.schema import (
    BudgetSection,
    CheckpointSection,
    Document,
    EvaluateSection,
    LoopSection,
    PopulationSection,
    RunSection,
    VerdictSection,
)
from jaxloop.sweep.sizes import plain
from jaxloop.sweep.source_map import SourceMap
from jaxloop.sweep.suggest import nearest, not_one_of, unknown

DRAWING = ("random", "sobol")  # samplers that take `members` instead of points
MESSAGES = {  # pydantic's types of errors, in the user's terms
    "int_type": "needs an integer",
    "float_type": "needs a number",
    "string_type": "needs a string",
    "bool_type": "needs true or false",
    "list_type": "needs a list",
    "dict_type": "needs a table",
    "model_type": "needs a table such as {{ values = [1, 2] }} or {{ log = [1e-4, 1e-1], num = 4 }}",
    "too_short": "needs at least one value",
    "greater_than_equal": "needs at least {ge}",
    "less_than_equal": "needs at most {le}",
    "greater_than": "needs more than {gt}",
    "less_than": "needs less than {lt}",
}
# a section and its old key: the present name
RENAMED: dict[tuple[str, ...], str] = {("population", "width"): "population.group_size"}
SECTIONS = {
    "run": RunSection,
    "population": PopulationSection,
    "evaluate": EvaluateSection,
    "checkpoint": CheckpointSection,
    "loop": LoopSection,
    "verdict": VerdictSection,
}


def explained(error: ValidationError, source_map: SourceMap) -> Iterator[str]:
    """Pydantic's findings in the user's terms, each once."""
    seen, problems = set(), error.errors()
    strays = {problem["loc"][:-1] for problem in problems if problem["type"] == "extra_forbidden"}
    for problem in problems:
        if problem["type"] == "missing" and problem["loc"][:-1] in strays:
            continue  # most likely that key, misspelled: one finding, not two
        kind = problem["type"]
        path = tuple(str(part) for part in problem["loc"])
        if kind != "missing":
            path = source_map.longest_known(path)  # pydantic goes on into the branches of a union
        message = problem["msg"].removeprefix("Value error, ")
        if kind == "extra_forbidden":
            message = _unknown_key(path)
        elif kind == "missing":
            message = "is missing"
        elif kind != "value_error":
            rule = MESSAGES[kind].format(**problem.get("ctx", {})) if kind in MESSAGES else message
            message = f"{rule}, got {problem['input']!r}"
        elif path[0] == "axes" and path[-1] not in catalog.ENGINE_NAMES:  # which --set may have misspelled
            message += nearest(path[-1], catalog.ENGINE_NAMES)
        line = source_map.say(path, message)
        if line not in seen:
            seen.add(line)
            yield line


def _unknown_key(path: tuple[str, ...]) -> str:
    *section, key = path
    if path in RENAMED:
        return f"is named `{RENAMED[path]}` now"
    keys = {name: model.model_fields for name, model in SECTIONS.items()}
    keys["hparams"] = namespace("mnist1d", {}).known
    for name, known in keys.items():
        if not section and key in known:
            return f"is not in a section; did you mean `{name}.{key}`?"
    if section[:1] in (["axes"], ["cases"]):
        return unknown("key", key, Axis.model_fields)
    model = BudgetSection if section == ["loop", "budget"] else SECTIONS.get(section[0]) if section else None
    return unknown("key", key, (model or Document).model_fields)


def unknown_hparams(
    malformed: list[tuple[str, ...]], names: Namespace | None, source_map: SourceMap
) -> Iterator[str]:
    """Yield which malformed entries bear the name of no hparam, besides; see `broken`.

    Args:
      malformed: paths of keys, such as ("axes", "width").
    """
    for path in dict.fromkeys(malformed):
        if names and len(path) == 2 and path[0] in ("axes", "hparams") and path[1] not in names.known:
            yield source_map.say(path, unknown("hparam", path[1], names.known))


def broken(document: Document, names: Namespace | None, source_map: SourceMap) -> Iterator[str]:
    """Yield what is wrong with the names and values of a well-formed document.

    Args:
      names: all hparams that it may have; None where its task, and so they, are not known.
    """
    for path, entry in document.entries():
        yield from _broken_entry(document, path, entry, names, source_map)
    if names:
        yield from _shared_names(document, names, source_map)
        yield from _broken_scheduler(document, names, source_map)
    yield from loop_rules.broken(document, source_map)
    population = document.population
    if population.members and population.sampler not in DRAWING:
        yield source_map.say(("population", "members"), f"goes with random or sobol, not {population.sampler}")
    if (total := document.count()) > population.max_members:
        lengths = " × ".join(f"{name} {length(axis)}" for name, axis in document.all_axes().items())
        rule = f"{total} members ({lengths}) are more than population.max_members = {population.max_members}"
        yield source_map.say(("axes",), rule)
    else:
        # other names may be the task's, and mean anything
        checked = names.known if names else catalog.ENGINE_NAMES
        yield from _broken_values(document, names or UNREAD, checked, source_map)
    yield from _broken_data(document, source_map)
    yield from _broken_ranking(document.run.task, document.evaluate, source_map)


def _broken_entry(
    document: Document, path: tuple[str, ...], entry: Any, names: Namespace | None, source_map: SourceMap
) -> Iterator[str]:
    """Yield what is wrong with one hparam that the file names: a value, or an axis."""
    name, known = path[-1], (names or UNREAD).known
    if name not in known:
        if names is not None:
            yield source_map.say(path, unknown("hparam", name, known))
    elif isinstance(entry, Axis):
        yield from _broken_axis(document, path, entry, known[name], source_map)
    if path[0] == "axes" and name in document.hparams:
        yield source_map.say(path, f"`{name}` is fixed in [hparams] as well")
    elif path[0] == "cases" and name in document.axes:
        yield source_map.say(path, f"`{name}` is an axis of all cases already")
    elif name == "steps" and not isinstance(entry, Axis):
        yield source_map.say(path, "the step budget belongs in `run.steps` (or is an axis)")


def _broken_ranking(task: str, evaluate: EvaluateSection, source_map: SourceMap) -> Iterator[str]:
    """Yield what is wrong with the metric to rank by, as far as it can be known before the task is loaded."""
    metric, known = evaluate.metric, catalog.measured(task)
    if metric == "auto":
        return
    if known and metric not in known and "/ema/" not in metric:
        yield source_map.say(("evaluate", "metric"), unknown("metric", metric, known))
    elif catalog.direction(metric, evaluate.mode) is None and not nearest(
        metric.rpartition("/")[2], catalog.DIRECTIONS
    ):
        yield source_map.say(("evaluate", "mode"), catalog.undirected(metric, "evaluate.mode"))


def _shared_names(document: Document, names: Namespace, source_map: SourceMap) -> Iterator[str]:
    """Hparams of the task that the sweep's own optimizers take as well: members cannot have both."""
    chosen = set(_used(document, "optimizer", names, ("run",)))
    for optimizer in sorted(chosen & names.tables["optimizer"].keys()):
        for name in sorted(names.task.keys() & names.tables["optimizer"][optimizer].keys()):
            rule = f"declares an hparam `{name}`, which {optimizer} takes too: rename it"
            yield source_map.say(("run", "task"), rule)


def _broken_scheduler(document: Document, names: Namespace, source_map: SourceMap) -> Iterator[str]:
    """Yield what a scheduler lacks, where the sweep asks for one."""
    if document.population.scheduler != "pbt":
        return
    if document.cases:
        yield source_map.say(
            ("population", "scheduler"), "pbt does not go with [cases]: copies would leave their own"
        )
    if not any(is_tunable(axis, names.known.get(name)) for name, axis in document.axes.items()):
        rule = "pbt needs an axis of numbers that a copy may change, such as learning_rate"
        yield source_map.say(("population", "scheduler"), rule)


def _broken_axis(
    document: Document, path: tuple[str, ...], axis: Axis, default: Any, source_map: SourceMap
) -> Iterator[str]:
    natural, sampler = kind_of(path[-1], default), document.population.sampler
    if axis.kind not in (None, natural, "static"):
        yield source_map.say((*path, "kind"), f"needs {natural} or static, got {axis.kind!r}")
    if (axis.log or axis.linear) and not axis.num and sampler not in DRAWING and not document.loop:
        yield source_map.say(path, f"needs `num`, how many points, with {sampler}")


def _broken_values(
    document: Document, names: Namespace, checked: Container[str], source_map: SourceMap
) -> Iterator[str]:
    for path, entry in document.entries():
        name = path[-1]
        if name not in checked:
            continue
        if takers := names.takers(name):
            chooser, owners = takers
            used = set(_used(document, chooser, names, path))
            if used <= names.tables[chooser].keys() and not owners & used:
                rule = f"no {chooser} of this sweep takes `{name}` (used: {', '.join(sorted(map(str, used)))})"
                yield source_map.say(path, rule)
        for value in extremes(entry, keeps_integers=True) if isinstance(entry, Axis) else [entry]:
            if rule := _broken_value(name, value, names):
                yield source_map.say(path, rule)


def _used(document: Document, chooser: str, names: Namespace, path: tuple[str, ...]) -> Iterator[Any]:
    """Yield what the members that get this entry have for the hparam `chooser`."""
    spanned = document.spanned()
    for grid in [spanned[path[1]]] if path[0] == "cases" else spanned.values():
        if chooser in grid.axes:
            yield from extremes(grid.axes[chooser], keeps_integers=True)
        else:
            yield grid.hparams.get(chooser, names.known[chooser])


def _broken_data(document: Document, source_map: SourceMap) -> Iterator[str]:
    if document.run.task not in catalog.DATA:
        return  # a user's task checks its own options
    options = catalog.DATA[document.run.task]
    for key, rule in catalog.REQUIRED.get(document.run.task, {}).items():
        if not document.data.get(key):
            yield source_map.say(("data", key), f"needs {rule}")
    for key, value in document.data.items():
        if key not in options:
            yield source_map.say(("data", key), unknown("option", key, options))
        elif key in catalog.CHOICES:
            if value not in catalog.CHOICES[key]:
                yield source_map.say(("data", key), not_one_of(value, catalog.CHOICES[key]))
        elif rule := _out_of_bounds(value, options[key], catalog.BOUNDS.get(key, (None, None))):
            yield source_map.say(("data", key), rule)


def _broken_value(name: str, value: Any, names: Namespace) -> str | None:
    """Return the rule that a value of an hparam breaks, if any."""
    if choices := names.choices(name):
        brings = "; 'own' needs a task with a `tx`" if (name, value) == ("optimizer", OWN) else ""
        return None if value in choices else not_one_of(value, choices) + brings
    return _out_of_bounds(value, plain(names.known[name]), names.bounds(name))


def _out_of_bounds(value: Any, default: Any, bounds: tuple[float | None, float | None]) -> str | None:
    """Return the rule that a value breaks, if any; a default's type is the type that its name wants."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    low, high = bounds
    largest = catalog.LARGEST_FLOAT if isinstance(default, float) else catalog.LARGEST_INT
    if isinstance(default, bool):
        rule = None if isinstance(value, bool) else "true or false"
    elif isinstance(default, str):
        rule = None if isinstance(value, str) else "a string"
    elif isinstance(default, float) and not number:
        rule = "a number"
    elif isinstance(default, int) and not (number and isinstance(value, int)):
        rule = "an integer"
    elif high is None and abs(value) > largest:
        rule = f"at most {largest}, what a device's number can hold"
    elif (low is not None and value < low) or (high is not None and value > high):
        rule = f"a value from {low} to {high}" if high is not None else f"at least {low}"
    else:
        rule = None
    return rule and f"needs {rule}, got {value!r}"


def repeated(members: list[dict[str, Any]], document: Document, source_map: SourceMap) -> str | None:
    """Return an error if two members are equal in float32, which programs compute with; else None."""
    seen: dict[tuple, int] = {}
    for number, hparams in enumerate(members):
        first = seen.setdefault(tuple((name, type(v), single(v)) for name, v in hparams.items()), number)
        if first == number:
            continue
        same = f"members {first} and {number} are the same"
        if rounded := [name for name, value in hparams.items() if members[first][name] != value]:
            values = [f"{name} {members[first][name]!r} and {hparams[name]!r}" for name in rounded]
            return source_map.say(("axes",), f"{same}: {', '.join(values)} are equal in float32")
        if (sampler := document.population.sampler) in DRAWING:
            cure = 'draw fewer members, or use sampler = "random", which never repeats a config'
            return source_map.say(("population", "sampler"), f"{same}: {sampler} drew a config twice: {cure}")
        for path, axis in document.entries() if document.population.sampler == "grid" else ():
            distinct = {single(member[path[-1]]) for member in members if path[-1] in member}
            if isinstance(axis, Axis) and len(distinct) < length(axis):
                return source_map.say(path, f"repeats a value, so that {same}")
        return source_map.say(("axes",), same)
    return None

"""What a loop's file must obey beside the rules of every sweep."""

import itertools
from collections.abc import Iterator
from importlib.util import find_spec

from jaxloop.sweep import catalog
from jaxloop.sweep.axes import Axis
from jaxloop.sweep.schema import Document, LoopSection
from jaxloop.sweep.source_map import SourceMap
from jaxloop.sweep.suggest import unknown


def broken(document: Document, source_map: SourceMap) -> Iterator[str]:
    """Yield what is wrong with a loop's search space, or with what goes with a loop alone."""
    loop = document.loop
    if loop is None:
        for section in ("verdict", "baseline"):
            if getattr(document, section):
                yield source_map.say((section,), "goes with a [loop]")
        return
    yield from _broken_space(document, source_map)
    if document.population.scheduler != "budget":
        yield source_map.say(
            ("population", "scheduler"),
            'needs to be "budget": a loop halves by itself, over seeds and at `loop.rungs`',
        )
    yield from _broken_proposer(document, loop, source_map)
    if loop.is_open() and not loop.budget.model_dump(exclude_none=True):
        yield source_map.say(("loop", "rounds"), '"open" needs a `budget`, such as { seconds = 3600 }')
    yield from _broken_rungs(document, loop, source_map)
    if loop.promote > loop.configs:
        rule = f"needs at most the {loop.configs} configs of a round, got {loop.promote}"
        yield source_map.say(("loop", "promote"), rule)


def _broken_rungs(document: Document, loop: LoopSection, source_map: SourceMap) -> Iterator[str]:
    """Yield what is wrong with the rungs of screening: each needs to be where a chunk ends."""
    path, run = ("loop", "rungs"), document.run
    if loop.rungs != sorted(set(loop.rungs)):
        yield source_map.say(path, f"needs ascending shares of a training's steps, got {loop.rungs}")
    for share in loop.rungs:
        step = share * run.steps
        chunks = step / run.evaluate_every
        if round(chunks) < 1 or abs(chunks - round(chunks)) > 1e-6:
            rule = f"{share:g} of {run.steps} steps is step {step:g}, where no chunk ends"
            rule += f": `run.evaluate_every` needs to divide it, got {run.evaluate_every}"
            yield source_map.say(path, f"{rule}; `rungs = []` stops nobody")


def _broken_proposer(document: Document, loop: LoopSection, source_map: SourceMap) -> Iterator[str]:
    """Yield what a loop's proposers lack."""
    if "tpe" in loop.shares() and find_spec("optuna") is None:
        yield source_map.say(("loop", "proposer"), 'tpe needs Optuna: pip install "jaxloop[tpe]"')
    if "command" in loop.shares() and not loop.command:
        yield source_map.say(("loop", "command"), 'is missing: proposer = "command" needs it')
    if loop.command and "command" not in loop.shares():
        yield source_map.say(("loop", "command"), 'goes with proposer = "command" alone')
    if "grid" in loop.shares():
        for path, axis in document.entries():
            if isinstance(axis, Axis) and (axis.log or axis.linear) and not axis.num:
                yield source_map.say(path, "needs `num`, how many points, with the proposer grid")


def _broken_space(document: Document, source_map: SourceMap) -> Iterator[str]:
    """Yield what is wrong with the axes that a loop searches, and with its baseline."""
    axes = {path: entry for path, entry in document.entries() if isinstance(entry, Axis)}
    if not axes:
        yield source_map.say(("loop",), "needs [axes], the space that it searches")
        return
    for path, axis in axes.items():
        if path[-1] in catalog.REPLICATES or axis.count:
            yield source_map.say(path, "a loop chooses seeds itself, and searches no replicates")
    for one, other in itertools.combinations(document.cases, 2):
        first, second = document.fixed(one), document.fixed(other)
        if not any(first[name] != second[name] for name in first.keys() & second.keys()):
            rule = f"needs an hparam that it fixes otherwise than `{one}` does, such as optimizer"
            yield source_map.say(("cases", other), rule)
    case = document.case_of_baseline()
    varied = {**document.axes, **document.axes_of(case)}
    for name, value in document.baseline.items():
        if name not in varied and document.fixed(case).get(name) != value:
            yield source_map.say(("baseline", name), unknown("axis", name, varied))
    for name in varied:
        if name in catalog.OPTIONAL and name not in (*document.baseline, *catalog.REPLICATES):
            rule = "has no default: [baseline] needs a value of it, to begin with"
            yield source_map.say(("cases", case, name) if name not in document.axes else ("axes", name), rule)

"""Hypotheses: try one against a loop's incumbent."""

from pathlib import Path
from typing import Any

from jaxloop.api.ready import Ready, resumed
from jaxloop.errors import SweepError
from jaxloop.formatting import shell_quoted
from jaxloop.readers.run import Run
from jaxloop.storage import lock
from jaxloop.training.progress import Observer


def attempt(
    path: str | Path,
    changed: tuple[str, ...],
    because: str,
    *,
    expected: float | None = None,
    planned: int | None = None,
    task: str = "",
    observe: Observer = lambda progress: None,
) -> dict[str, Any]:
    """Test one hypothesis against the incumbent of a loop that has ended, by the loop's own protocol.

    Args:
      path: the loop's run.
      changed: hparams that differ from the incumbent, such as "learning_rate=3e-3".
      because: the hypothesis, in words.
      expected: the effect that is predicted, in units of the metric.
      planned: how many tries are planned in all, each with an equal share of what alpha is left for them; without
        it, try r gets 1 / (r (r + 1)) of it.
      task: another, "file.py:name", that trains the changed config in a run beside this one: a change of code.
      observe: called after each turn with its `Progress`.

    Returns:
      The ledger's record of the experiment, with its verdict.

    Raises:
      SweepError: the run has no loop, an hparam is unknown or out of bounds, the same has been tried with a clear
        verdict, or no alpha is left.
    """
    run, ready = attempted(path, changed, because, expected=expected, planned=planned, task=task)
    with run:
        if ready.train(observe).signal:
            raise KeyboardInterrupt  # what is done is saved, and `resume` ends the try
        return run.ledger[-1]


def attempted(
    path: str | Path,
    changed: tuple[str, ...],
    because: str,
    *,
    expected: float | None = None,
    planned: int | None = None,
    task: str = "",
) -> tuple[Run, Ready]:
    """Record a hypothesis in the ledger of a loop, for `Ready.train` to test; see `attempt`."""
    from jaxloop.experiments import code_tries
    from jaxloop.experiments.tries import check_can_try

    spec = code_tries.qualified_task(task) if task else ""
    run, ready = resumed(path)
    document = ready.sweep.document
    if document.loop is None:
        raise SweepError(f"{path}: has no [loop], and so no incumbent")
    names = [each.partition("=")[0] for each in changed]
    for name in names:
        if name.removeprefix("run.") == "steps":
            another = f"`jaxloop fork {shell_quoted(path)} --set run.steps=...` starts another"
            raise SweepError(f"--set {name}: a loop's number of steps is fixed; {another}")
        if "." in name:
            raise SweepError(f"--set {name}: needs the name of an hparam, without its section")
    values = _values(run, ready, changed)
    record = {"changed": values, "because": because, "expected": expected, "planned": planned, "task": spec}
    if spec:  # fail before anything is recorded
        config = {**code_tries.incumbent_of(run.ledger, ready.sweep), **values}
        code_tries.sweep_for_task(ready.sweep, run.store, spec, config, [0])
        code_tries.refuse_stale(run.path, run.ledger)
    with lock.held(run.path), run.store.transaction():
        check_can_try(run.path, document.loop, run.ledger, values, spec)
        run.store.append(run.store.checkpoint["turn"], [{"kind": "hypothesis", **record}])
    return run, ready


def _values(run: Run, ready: Ready, changed: tuple[str, ...]) -> dict[str, Any]:
    """Return the values that a try sets, checked as those of a sweep are.

    Raises:
      SweepError: the incumbent's case fixes one of the hparams, or does not have it.
    """
    from jaxloop.experiments import code_tries, space

    document, names = ready.sweep.document, [each.partition("=")[0] for each in changed]
    case = space.of(ready.sweep).values(code_tries.incumbent_of(run.ledger, ready.sweep)).get(space.CASE, "")
    varied, sections = document.axes_of(case), []
    for name, override in zip(names, changed, strict=True):
        if name in document.axes:
            sections.append(f"baseline.{override}")
        elif name in varied:
            sections.append(f"cases.{case}.{override}")
        elif any(name in entries for entries in document.cases.values()):
            raise SweepError(
                f"--set {name}: the incumbent is of case `{case}`, which does not vary it; a try stays there"
            )
        else:
            sections.append(f"hparams.{override}")
    wanted, _ = run.read(tuple(sections))
    of_case = space.of(wanted).fixed.get(case, {})
    return {name: of_case[name] if name in varied else wanted.members[0][name] for name in names}

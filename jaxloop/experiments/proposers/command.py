"""A program as proposer: it gets what is known as JSON on stdin, and answers with proposals as JSON on stdout."""

import json
import math
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxloop.errors import TOLD
from jaxloop.experiments.proposers.base import Proposal
from jaxloop.experiments.space import Config, Space, key
from jaxloop.sweep.axes import Axis, ends, listed
from jaxloop.sweep.suggest import unknown

BEST, RECENT = 5, 20  # experiments that a program sees
SHOWN = (
    "config",
    "hypothesis",
    "expected",
    "screening_mean",
    "stopped_at",
    "verdict",
    "effect",
    "low",
    "high",
    "n",
    "round",
)


class AnswerError(Exception):
    """Why an answer, or one of its proposals, cannot be used."""


class Answer(NamedTuple):
    """What a program's answer gave.

    proposals: that can be tried.
    refused: why others cannot, a sentence each.
    """

    proposals: list[Proposal]
    refused: list[str]


def ask(
    command: str,
    folder: Path,
    request: Mapping[str, Any],
    space: Space,
    verdicts: Mapping[tuple, str],
    count: int,
    timeout: float,
) -> Answer:
    """Run a program once and check its answer.

    That is `{"proposals": [{"config": {...}, "hypothesis": "...", "expected": 0.01}]}`, where the last two may be
    missing, and what is as in the incumbent, or in the middle of an axis that the incumbent has no part in.

    Args:
      command: its words; it runs in `folder`.
      request: what it gets on stdin.
      verdicts: of the configs that are known, by `space.key`.
      count: how many proposals are wanted; more are refused.
      timeout: in seconds; then the program and what it has started are killed.
    """
    incumbent: Config = dict(request["incumbent"])
    try:
        answer = _answer(command, folder, request, timeout)
    except AnswerError as error:
        return Answer([], [str(error)])
    proposals: list[Proposal] = []
    refused: list[str] = []
    known = dict(verdicts)
    for number, given in enumerate(answer[:count]):
        try:
            proposal = _proposal(given, space, incumbent)
            if (verdict := known.get(key(proposal.config))) is not None:
                raise AnswerError(f"was tried already (verdict: {verdict}): {json.dumps(proposal.config)}")
        except AnswerError as error:
            refused.append(f"proposal {number}: {error}")
        else:
            known[key(proposal.config)] = "proposed in the same answer"
            proposals.append(proposal)
    if len(answer) > count:
        refused.append(f"{len(answer)} proposals, and only the first {count} were looked at")
    return Answer(proposals, refused)


def request(
    space: Space, incumbent: Config, metric: str, mode: str, experiments: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what a program sees: never a test metric, nor a seed of confirmation.

    Args:
      experiments: the ledger's records of them, in order.
    """
    shown = [{name: record[name] for name in SHOWN if name in record} for record in experiments]
    sign = -1 if mode == "max" else 1
    completed = [each for each in shown if math.isfinite(each["screening_mean"]) and "stopped_at" not in each]
    return {
        "space": {name: axis.model_dump(exclude_none=True) for name, axis in space.axes.items()},
        "incumbent": incumbent,
        "metric": metric,
        "mode": mode,
        "best": sorted(completed, key=lambda each: sign * each["screening_mean"])[:BEST],
        "recent": shown[-RECENT:],
    }


def _answer(command: str, folder: Path, request: Mapping[str, Any], timeout: float) -> list[Any]:
    try:
        process = subprocess.Popen(
            shlex.split(command),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise AnswerError(f"{command}: cannot be started: {error}") from None
    try:
        said, complained = process.communicate(json.dumps(_strict(request), allow_nan=False).encode(), timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise AnswerError(f"{command}: did not answer within {timeout:g} s") from None
    if process.returncode:
        reason = complained.decode(errors="replace").strip()[-TOLD:]
        raise AnswerError(f"{command}: ended with exit code {process.returncode}: {reason}")
    try:
        found = json.loads(said)
    except ValueError as error:
        start = said[:80].decode(errors="replace")
        raise AnswerError(f"{command}: did not answer with JSON ({error}): {start!r}") from None
    if not isinstance(found, dict) or not isinstance(found.get("proposals"), list):
        raise AnswerError(f'{command}: needs to answer {{"proposals": [...]}}, got {str(found)[:80]}')
    return found["proposals"]


def _strict(value: Any) -> Any:
    """Return plain data with null for what is not finite: JSON has no numbers for that."""
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _proposal(given: Any, space: Space, incumbent: Config) -> Proposal:
    if not isinstance(given, dict) or not isinstance(given.get("config"), dict):
        raise AnswerError(f'needs {{"config": {{...}}}}, got {str(given)[:80]}')
    values = {name: space.at(name, 0.5) for name in space.axes} | space.values(incumbent)
    for name, value in given["config"].items():
        if name not in space.axes:
            raise AnswerError(unknown("axis", str(name), space.axes))
        values[name] = _value(name, value, space.axes[name], keeps_integers=space.keeps_integers[name])
    expected = given.get("expected")
    if expected is not None and not _is_number(expected):
        raise AnswerError(f"`expected` needs a finite number, got {expected!r}")
    return Proposal(space.config_of(values), "command", str(given.get("hypothesis", ""))[:1000], expected)


def _value(name: str, value: Any, axis: Axis, *, keeps_integers: bool) -> Any:
    """Return a value of an axis.

    Raises:
      AnswerError: it is none.
    """
    if axis.log or axis.linear:
        low, high = ends(axis)
        if not _is_number(value) or not low <= value <= high:
            raise AnswerError(f"`{name}` needs a number from {low} to {high}, got {value!r}")
        are_ints = keeps_integers and isinstance(low, int) and isinstance(high, int)
        if are_ints and value != int(value):
            raise AnswerError(f"`{name}` needs an integer, got {value!r}")
        return int(value) if are_ints else float(value)
    values = list(listed(axis))
    if value not in values:
        raise AnswerError(f"`{name}` needs one of {values}, got {value!r}")
    found = values[values.index(value)]
    return found if keeps_integers else float(found)

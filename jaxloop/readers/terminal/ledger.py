"""What a loop has recorded, in words."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from jaxloop import formatting
from jaxloop.formatting import counted
from jaxloop.readers.terminal.tables import fitted, in_columns, in_lines, left_out_lines

COLUMNS = ("id", "round", "verdict", "stopped_at", "effect", "low", "high", "n", "level", "rho", "changed")


def summary_lines(records: list[dict[str, Any]]) -> list[str]:
    """Return the noise floor, the rounds and the audit, a line each."""
    lines = []
    for record in records:
        if record["kind"] == "floor":
            lines.append(_floor_line(record))
        elif record["kind"] == "round":
            of_round = [each for each in records if each.get("id") and each["round"] == record["round"]]
            found = Counter(each["verdict"] for each in of_round if each["proposer"] != "try")
            verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.items()))
            lines.append(
                f"round {record['round']}: {verdicts}; incumbent {_changes(record['incumbent'])}; "
                f"alpha left {record['alpha_left']:.4f}"
            )
        elif record["kind"] == "experiment" and record["proposer"] == "try":
            lines.append(f"try {record['round']}: {verdict_line(record)}")
            if record["verdict"] == "success" and not record.get("task"):
                lines.append(f"  new incumbent, not audited: {_changes(record['config'])}")
        elif record["kind"] == "audit" and "effect" in record:
            lines.append(
                f"audit on the test split: {record['verdict']}, {_interval(record)} gained over the baseline "
                f"on {record['n']} fresh seeds"
            )
        elif record["kind"] == "end":
            lines.append(f"round {record['round']}: {record['why']}")
        elif record["kind"] == "audit":
            lines.append("audit: no success, the baseline stays")
    return lines


def standing(records: list[dict[str, Any]]) -> list[str]:
    """Return where a loop stands after its last round, in lines: incumbent, verdicts, what it has spent."""
    rounds = [record for record in records if record["kind"] == "round"]
    if not rounds:
        return []
    now, experiments = rounds[-1], [record for record in records if record["kind"] == "experiment"]
    won = [each for each in experiments if each["verdict"] == "success" and each["config"] == now["incumbent"]]
    effect = f", {_interval(won[-1])} over the one before" if won else ", the baseline"
    counts = Counter(record["verdict"] for record in experiments if "effect" in record)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return [
        f"incumbent {_changes(now['incumbent'])}{effect}",
        f"verdicts {verdicts or 'none yet'}; {now['experiments']} experiments in {now['trainings']} trainings; "
        f"alpha left {now['alpha_left']:.4f}",
    ]


def _interval(record: dict[str, Any]) -> str:
    return f"{record['effect']:+.4g} [{record['low']:+.4g}, {record['high']:+.4g}]"


def _floor_line(record: dict[str, Any]) -> str:
    """Return what noise lets the loop see; seeds are taken as independent, the worst case."""
    line = f"noise floor: sd {cell(record['sd'])} over {record['finite']} seeds of the baseline; "
    line += f"the last look detects an effect of {cell(record.get('resolves'))} or more with 80% power"
    if record["power_at_last_look"] is None:
        return line
    needed, is_seen = record["seeds_needed"], record["power_at_last_look"] >= 0.8
    seeds = f"smallest_effect needs {needed} paired seeds" if needed else "no number of seeds sees smallest_effect"
    return f"{line}; {seeds}" + ("" if is_seen else ": most such effects will end undecided")


def experiments_table(experiments: Sequence[dict[str, Any]], width: int) -> list[RenderableType]:
    """Return a table of experiments; in a narrow terminal two lines and more for each, what it changed below."""
    title = counted(len(experiments), "experiment")
    rows = [[cell(record.get(name)) for name in COLUMNS] for record in experiments]
    table = fitted(title, COLUMNS, rows, width, ("verdict", "changed"))
    if isinstance(table, Table):
        return [table]
    lines, left_out = in_columns(COLUMNS[:-1], [row[:-1] for row in rows], width)
    heading = len(lines) - len(rows)
    found: list[RenderableType] = [title, *lines[:heading]]
    for line, row in zip(lines[heading:], rows, strict=True):
        found += [line, *in_lines(f"     {row[-1]}", width, "     ")]
    return [*found, *left_out_lines(left_out, width)]


def verdict_line(record: dict[str, Any]) -> str:
    """Return an experiment's verdict and what it rests on."""
    if record["verdict"] == "crash":
        where = record.get("crashed")
        first = f"; member {where['member']} diverged first, after step {where['step']}" if where else ""
        return f"{record['verdict']}: no seed of {_changes(record['changed'])} ended with a finite value{first}"
    return (
        f"{record['verdict']}: {_changes(record['changed'])}, effect {_interval(record)} "
        f"on {record['n']} paired seeds "
        f"(p {record['p']:.2g}, level {record['level']:.2g}); alpha left {record['alpha_left']:.4f}"
    )


def _changes(config: dict[str, Any]) -> str:
    return " ".join(f"{name}={cell(value)}" for name, value in config.items())


def cell(value: Any) -> str:
    """Return a value in a table."""
    if isinstance(value, dict):
        return _changes(value)
    return "-" if isinstance(value, float) and math.isnan(value) else formatting.value(value)

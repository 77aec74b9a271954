"""What every benchmark shares: the machine it ran on, and its options."""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax

from jaxloop.training.provenance import processor

SECONDS = 2.0  # of one measured rate


def parser(description: str) -> argparse.ArgumentParser:
    """With the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="under 30 seconds: to see it work, not to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw them here, as a PNG (needs matplotlib)")
    return parser


def seconds(call: Callable[[], Any]) -> float:
    """Of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def completed(command: Sequence[str], **options: Any) -> str:
    """A command's output; what it complained of, where it failed."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def rate(call: Callable[[], Any], work: float) -> float:
    """Work a second, of calls that do so much of it each."""
    calls, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < SECONDS:
        call()
        calls += 1
    return calls * work / elapsed


class Clock:
    """Seconds that a process has run, without those in which it was stopped."""

    def __init__(self, stopped: Any) -> None:
        self.stopped, self.wall = stopped, time.perf_counter

    def running(self) -> float:
        return self.wall() - self.stopped.value


def in_turns(first: Callable, second: Callable, arguments: tuple, turn: float = 1.0) -> list[Any]:
    """What two functions return, each in a process of its own that is stopped while the other one runs.

    Each gets its `Clock` before the arguments.
    """
    spawned = multiprocessing.get_context("spawn")
    stopped = [spawned.Value("d", 0.0, lock=False) for _ in range(2)]  # who holds a lock may be stopped
    with ExitStack() as stack:
        pipes = [spawned.Pipe() for _ in range(2)]
        processes = [
            spawned.Process(target=_answer, args=(function, clock, pipe[1], arguments), daemon=True)
            for function, clock, pipe in zip((first, second), stopped, pipes, strict=True)
        ]
        since = []
        for process in processes:
            process.start()
            stack.callback(process.kill)
            pipes[len(since)][1].close()  # so that its death is an error here
            _send(process, signal.SIGSTOP)
            since.append(time.perf_counter())
        answers: dict[int, Any] = {}
        while len(answers) < 2:
            for which, process in enumerate(processes):
                if which in answers:
                    continue
                stopped[which].value += time.perf_counter() - since[which]
                _send(process, signal.SIGCONT)
                if pipes[which][0].poll(turn):
                    answers[which] = pipes[which][0].recv()
                _send(process, signal.SIGSTOP)
                since[which] = time.perf_counter()
        return [answers[0], answers[1]]


def _send(process: Any, number: int) -> None:
    if process.pid is None:
        raise RuntimeError("the process has not been started")
    os.kill(process.pid, number)


def _answer(function: Callable, stopped: Any, pipe: Any, arguments: tuple) -> None:
    pipe.send(function(Clock(stopped), *arguments))
    time.sleep(3600)  # until it is killed


def hardware() -> dict[str, Any]:
    """The machine and the versions that a figure belongs to."""
    return {
        "devices": [device.device_kind for device in jax.devices()],
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
    }


def lines(file: Path, x: Sequence[float], series: Mapping[str, Sequence[float]], across: str, up: str) -> None:
    """Draws a line for each of some series over the same x, on a logarithmic axis."""
    figure, axes = _figure()
    for name, values in series.items():
        axes.plot(x[: len(values)], values, "o-", label=name)
    axes.set(xlabel=across, ylabel=up, xscale="log")
    axes.legend()
    figure.savefig(file, dpi=110)


def bars(file: Path, groups: Sequence[str], series: Mapping[str, Sequence[float]], up: str, scale: str) -> None:
    """Draws a bar for each of some series in each group.

    Args:
      scale: of what goes up, "linear" or "log".
    """
    figure, axes = _figure()
    wide = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        places = [group + wide * (number + 0.5) - 0.4 for group in range(len(groups))]
        axes.bar_label(axes.bar(places, values, wide, label=name), fmt="{:.3g}", fontsize=7)
    axes.set_xticks(range(len(groups)), groups)
    axes.set(ylabel=up, yscale=scale)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def _figure() -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(7, 4.2), layout="constrained")


def publish(figures: dict[str, Any], file: Path | None) -> None:
    """Prints the figures, a line each, and writes them where asked to."""
    figures = {**figures, "hardware": hardware()}
    for name, value in figures.items():
        if name == "rows":
            continue
        print(f"{name:28} {value:,.3f}" if isinstance(value, float) else f"{name:28} {value}")
    if file:
        file.write_text(json.dumps(figures, indent=1))

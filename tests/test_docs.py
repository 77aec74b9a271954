"""The documentation: its commands run or parse, generated pages are as generated, the site builds."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from conftest import JAXLOOP, ROOT
from helpers.pages import DOCS, README, blocks, commands

from jaxloop.cli import cli

PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_every_command_parses(page):
    for line in commands(page):
        name, *arguments = shlex.split(line)[1:]
        command = cli.commands[name]
        with click.Context(cli) as above:
            parsed = command.make_context(name, arguments, parent=above)
        assert parsed.args == [], line  # nothing is left over


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.stem)
def test_commands_and_options_named_in_the_text_exist(page):
    """Such as `jaxloop try RUN --set ...`: the command, and every option of it."""
    for name, rest in re.findall(r"`jaxloop ([a-z]+)([^`]*)`", page.read_text()):
        assert name in cli.commands, name
        options = {text for option in cli.commands[name].params for text in option.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", rest)) <= options, f"{name}{rest}"


def test_generated_pages_are_as_generated():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import reference
    finally:
        sys.path.pop(0)
    for name, page in reference.PAGES.items():
        assert (DOCS / name).read_text(encoding="utf-8") == page(), "run tools/reference.py"


def test_the_site_builds_without_a_warning(tmp_path):
    command = [str(Path(sys.executable).parent / "mkdocs"), "build", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "How members enter one program" in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.slow
def test_the_tour_runs_as_it_is_written(tmp_path):
    outputs = {}
    for line in commands(DOCS / "tour.md"):
        done = subprocess.run([JAXLOOP, *shlex.split(line)[1:]], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        outputs[line] = done.stdout
    assert outputs["jaxloop plan mine/sweep.toml"].startswith("144 members")
    assert "largest difference 0" in outputs["jaxloop replay runs/first 7"]
    assert "144 finished, 0 diverged" in outputs["jaxloop population mine/sweep.toml --out runs/first"]
    assert "36 configs in both runs" in outputs["jaxloop compare runs/first runs/second"]
    assert "would delete" in outputs["jaxloop clean runs/first runs/second"]
    assert (tmp_path / "runs" / "first" / "finished").exists()
    assert (tmp_path / "first.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mytask.py:task", "nnx_task.py:task", "linen_task.py:task"])
def test_the_worked_tasks_train_256_members(tmp_path, task):
    page = DOCS / "tasks.md"
    for block in blocks(page, "python") + blocks(page, "toml"):
        if named := re.match(r"# (\w+\.\w+)\n", block):
            (tmp_path / named[1]).write_text(block)
    plain, libraries = commands(page)
    words = shlex.split(plain if task.startswith("mytask") else libraries)[1:]
    done = subprocess.run(
        [JAXLOOP, *words, "--json", "--set", f"run.task={task}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["finished"], found["programs"]) == (256, 1)
    best = found["best"][0]["mean"]
    assert best < 1.0 if task.startswith("mytask") else best > 0.8

"""Every command and every snippet of the README, run in its order as a user would."""

import contextlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import ROOT
from helpers.pages import DOCS, README, blocks, commands, without_folder

pytestmark = pytest.mark.optimized
BIN = Path(sys.executable).parent


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    asked = [command.split()[1] for command in commands(README) if command.startswith("make ")]
    assert asked == ["demo", "test"]
    assert "jaxloop population sweeps/lr_wd.toml" in makefile.split("demo:")[1].split("\n\n")[0]
    assert "pytest" in makefile.split("test:")[1].split("\n\n")[0]
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_it_is_short():
    assert len(README.read_text().splitlines()) <= 250


def served(folder, words):
    """What a server says until it is interrupted, once it answers."""
    command = [BIN / "jaxloop", *words, "--port", "0"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    said = [server.stdout.readline() for _ in range(3)]
    until, answer = time.monotonic() + 60, b""
    while not answer and time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(said[1].strip(), timeout=5) as page:
            answer = page.read()
        time.sleep(0.2)
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    server.stdout.close()
    assert b"TensorBoard" in answer
    return "".join(said)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the sweeps and the README's own files, and the tour's outputs by command."""
    folder = tmp_path_factory.mktemp("tour")
    shutil.copytree(ROOT / "sweeps", folder / "sweeps")
    outputs = {}
    elsewhere = {without_folder(command) for command in commands(DOCS / "tour.md")}  # run by test_docs
    for command in commands(README):
        words = shlex.split(command)
        if words[:2] == ["jaxloop", "tb"]:
            outputs[command] = served(folder, words[1:])
        elif words[0] == "jaxloop" and (words[1] == "init" or without_folder(command) not in elsewhere):
            done = subprocess.run([BIN / "jaxloop", *words[1:]], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            outputs[command] = done.stdout
        else:
            assert words[0] == "make" or without_folder(command) in elsewhere
    return folder, outputs


@pytest.mark.slow
def test_the_main_job_reaches_the_published_accuracy(workplace):
    """256 members; the dataset's authors report 65.1% for an MLP (Greydanus and Kobak, arXiv:2011.14439)."""
    folder, _ = workplace
    facts = json.loads((folder / "runs/tour/run.json").read_text())
    assert (facts["members"], facts["programs"], facts["finished"]) == (256, 1, 256)
    command = [BIN / "jaxloop", "best", "runs/tour", "--json"]
    ranked = json.loads(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)
    assert len(ranked[0]["members"]) == 4
    assert 0.62 <= ranked[0]["metrics"]["test/accuracy"] <= 0.70


@pytest.mark.slow
def test_the_tour_says_what_the_readme_promises(workplace):
    _, outputs = workplace
    by_verb = {command.split()[1]: output for command, output in outputs.items()}
    assert by_verb["plan"].startswith("256 members in 1 program on ")
    assert by_verb["replay"].rstrip().endswith("in both curves, 0 in one only; largest difference 0")
    assert len(by_verb["show"].splitlines()) == 6  # a heading, and five members
    assert "configs in both runs" in by_verb["compare"]
    assert {"runs/tour", "runs/small"} <= {line.split()[0] for line in by_verb["ls"].splitlines()}
    trained = [output for command, output in outputs.items() if command.split()[1] == "population"]
    assert len(trained) == 3
    for output in trained:  # the last lines are the next useful commands
        for verb, line in zip(("report", "tb", "best"), output.splitlines()[-3:], strict=True):
            assert re.fullmatch(rf"jaxloop {verb} runs/\w+", line)


@pytest.mark.slow
def test_the_snippets_run_and_plain_orbax_gives_the_same_parameters(workplace):
    folder, _ = workplace
    (from_python,) = blocks(README, "python")
    (plain,) = blocks(DOCS / "runs.md", "python")
    assert "jaxloop" not in re.sub(r"runs/\w+", "", plain)
    check = (
        "mine = run.params(17)\n"
        f"{plain}\n"
        "pairs = list(zip(jax.tree.leaves(mine), jax.tree.leaves(params), strict=True))\n"
        "assert all(a.shape == b.shape and (a == b).all() for a, b in pairs)\n"
        "assert len(jax.tree.leaves(params)) == 6\n"
    )
    subprocess.run([sys.executable, "-c", from_python + check], cwd=folder, check=True)

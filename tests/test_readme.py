"""Every command and every snippet of the README, run in its order as a user would."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands():
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    asked = [command.split()[1] for command in commands() if command.startswith("make ")]
    assert asked == ["demo", "test"]
    assert "jaxloop population sweeps/lr_wd.toml" in makefile.split("demo:")[1].split("\n\n")[0]
    assert "pytest" in makefile.split("test:")[1].split("\n\n")[0]
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the sweeps and the README's own files, and the tour's outputs by command."""
    folder = tmp_path_factory.mktemp("tour")
    shutil.copytree(ROOT / "sweeps", folder / "sweeps")
    for block in blocks("python") + blocks("toml"):
        if named := re.match(r"# (\w+\.\w+)\n", block):
            (folder / named[1]).write_text(block)
    outputs = {}
    for command in commands():
        words = shlex.split(command)
        if words[0] == "jaxloop":
            done = subprocess.run([BIN / "jaxloop", *words[1:]], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            outputs[command] = done.stdout
        elif words[0] == "tensorboard":
            server = subprocess.Popen([BIN / "tensorboard", *words[1:], "--port", "0"], cwd=folder, stderr=-1)
            said, until = b"", time.monotonic() + 60
            os.set_blocking(server.stderr.fileno(), False)
            while b"http" not in said and time.monotonic() < until:
                said += server.stderr.read() or b""
                time.sleep(0.1)
            server.kill()
            server.communicate()
            assert b"http" in said
        else:
            assert words[0] == "make"
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
    assert by_verb["plan"].startswith("256 members in 1 program(s)")
    assert by_verb["replay"].rstrip().endswith("in both curves, 0 in one only; largest difference 0")
    shown = dict(line.split(maxsplit=1) for line in by_verb["show"].splitlines() if line.startswith(" "))
    assert (shown["number"], shown["status"]) == ("17", "finished")
    assert {"runs/tour", "runs/small"} <= {line.split()[0] for line in by_verb["ls"].splitlines()}
    trained = [output for command, output in outputs.items() if command.split()[1] == "population"]
    assert len(trained) == 4
    for output in trained:  # the last lines are the next useful commands
        logs, best = output.splitlines()[-2:]
        assert re.fullmatch(r"tensorboard --logdir runs/\w+/members", logs)
        assert re.fullmatch(r"jaxloop best runs/\w+", best)
    assert "256 finished, 0 diverged" in outputs["jaxloop population mysweep.toml --out runs/mine"]


@pytest.mark.slow
def test_the_snippets_run_and_plain_orbax_gives_the_same_parameters(workplace):
    folder, _ = workplace
    from_python, plain = (block for block in blocks("python") if not block.startswith("# "))
    assert "jaxloop" not in re.sub(r"runs/\w+", "", plain)
    check = (
        "mine = run.params(17)\n"
        f"{plain}\n"
        "pairs = list(zip(jax.tree.leaves(mine), jax.tree.leaves(params), strict=True))\n"
        "assert all(a.shape == b.shape and (a == b).all() for a, b in pairs)\n"
        "assert len(jax.tree.leaves(params)) == 6\n"
    )
    subprocess.run([sys.executable, "-c", from_python + check], cwd=folder, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["nnx_task.py:task", "linen_task.py:task"])
def test_the_worked_tasks_train_256_members(tmp_path, task):
    text = (ROOT / "docs" / "tasks.md").read_text()
    for block in re.findall(r"^```(?:python|toml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / re.match(r"# (\w+\.\w+)\n", block)[1]).write_text(block)
    (command,) = re.findall(r"^jaxloop (population .*)", text, re.MULTILINE)
    words = [BIN / "jaxloop", *shlex.split(command), "--json", "--set", f"run.task={task}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["finished"], found["programs"]) == (256, 1)
    assert found["best"][0]["mean"] > 0.8

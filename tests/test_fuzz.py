"""Whatever is thrown at it: one clear error, no traceback, nothing outside touched."""

import random
import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner
from conftest import ROOT, TINY
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxloop
from jaxloop.cli import cli
from jaxloop.errors import JaxloopError, SweepError
from jaxloop.readers.verify import verify
from jaxloop.sweep import sweep

SECTIONS = ("run", "data", "hparams", "axes", "cases", "population", "evaluate", "checkpoint", "nonsense")
KEYS = (
    *("task", "steps", "evaluate_every", "learning_rate", "width", "seed", "batch_size", "optimizer", "model"),
    *(
        "sampler",
        "members",
        "capacity",
        "max_members",
        "metric",
        "mode",
        "every",
        "keep",
        "",
        "a.b",
        "<b>",
        "../x",
    ),
)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**7, 2**31, 2**63, -(2**63), 10**400, 1e308, float("nan"), -0.0]),
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["<script>alert(1)</script>", "../../etc/passwd", "[/bold]", "\x00", "a" * 5000, "’", "$(ls)", "-"]
    ),
)
VALUES = st.recursive(
    st.one_of(NUMBERS, TEXTS, st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["log", "linear", "values", "range", "count", "num", "kind", "x"]), inner),
    ),
    max_leaves=6,
)


def toml(value):
    """TOML of a value that TOML can hold, or something close to it that it cannot."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


def one_error(error: JaxloopError):
    assert str(error).strip()
    assert "Traceback" not in str(error)


@pytest.mark.slow
@settings(max_examples=120)
@given(st.lists(st.tuples(st.sampled_from(SECTIONS), st.sampled_from(KEYS), VALUES), min_size=1, max_size=4))
def test_whatever_a_sweep_says_it_is_read_or_refused(entries):
    raw = tomllib.loads(TINY)
    for section, key, value in entries:
        raw.setdefault(section, {})[key] = value
    text = tomli_w.dumps(raw)
    started = time.monotonic()
    try:
        found = sweep.parse(text)
        assert 1 <= len(found.members) <= found.document.population.max_members
    except SweepError as error:
        one_error(error)
    assert time.monotonic() - started < 10


@pytest.mark.slow
@settings(max_examples=120)
@given(st.sampled_from(SECTIONS), st.sampled_from(KEYS), st.one_of(TEXTS, VALUES.map(toml)))
def test_whatever_is_overridden_it_is_taken_or_refused(section, key, value):
    for assignment in (f"{section}.{key}={value}", f"{key}={value}", value):
        try:
            found = sweep.parse(TINY, (assignment,))
            assert 1 <= len(found.members) <= found.document.population.max_members
        except SweepError as error:
            one_error(error)


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_whatever_bytes_a_sweep_file_holds(content):
    path = ROOT / ".pytest_cache" / "fuzzed.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(SweepError) as error:
        sweep.load(path)
    one_error(error.value)


def test_a_grid_of_ten_million_members_is_refused_at_once():
    started = time.monotonic()
    with pytest.raises(SweepError, match="max_members"):
        sweep.parse(TINY, ("axes.seed.count=10000000",))
    assert time.monotonic() - started < 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    jaxloop.run(sweep.parse(TINY), out=folder / "run").close()
    with sqlite3.connect(folder / "run" / "run.sqlite") as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    return folder / "run"


def test_no_flipped_bytes_of_a_store_end_in_a_traceback(run, tmp_path):
    """Readers of a damaged store say that it is damaged, or what they find; they never crash."""
    random_ = random.Random(7)
    file, kept = run / "run.sqlite", (run / "run.sqlite").read_bytes()
    commands = [["show"], ["best"], ["show", "--json"], ["ls"], ["verify"]]
    try:
        for _ in range(150):
            damaged = bytearray(kept)
            for _ in range(random_.choice([1, 1, 1, 20, 500])):
                damaged[random_.randrange(len(kept))] = random_.randrange(256)
            file.write_bytes(damaged[: random_.choice([len(kept), len(kept), len(kept) // 2])])
            command, *options = random_.choice(commands)
            done = CliRunner().invoke(cli, [command, str(run), *options])
            assert done.exception is None or isinstance(done.exception, JaxloopError | SystemExit), done.exception
    finally:
        file.write_bytes(kept)
    assert verify(run)["problems"] == []


WORDS = [
    '{"turn": 10000000000}',
    '"x"',
    "[]",
    "null",
    "not json",
    '{"turn": -1, "parts": ["../../x"]}',
    '{"turn": 3, "parts": [0]}',
]


@pytest.mark.parametrize(
    "key", ["checkpoint", "size_classes", "sweep", "origins", "varied", "place", "layout/0", "metric"]
)
def test_no_fact_of_a_store_ends_in_a_traceback(run, tmp_path, key):
    for number, word in enumerate(WORDS):
        copy = shutil.copytree(run, tmp_path / str(number))
        with sqlite3.connect(copy / "run.sqlite") as connection:
            connection.execute("update facts set value = ? where key = ?", (word, key))
        for words in (["show", copy], ["best", copy], ["ls", copy], ["verify", copy], ["resume", copy]):
            done = CliRunner().invoke(cli, list(map(str, words)))
            told = done.exception
            assert told is None or isinstance(told, JaxloopError | SystemExit), (words, word, repr(told))
    assert {path.name for path in tmp_path.iterdir()} == {str(number) for number in range(len(WORDS))}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b'\"c;<i>", "ünï%s{0}", "-x", "\n]", "x.y"])
def test_a_run_may_have_any_name(tmp_path, name):
    out = tmp_path / name
    jaxloop.run(sweep.parse(TINY, ("run.steps=20", "axes.seed.count=1")), out=out).close()
    for command in ("show", "best", "verify"):
        done = CliRunner().invoke(cli, [command, str(out)])
        assert (done.exception, done.exit_code) == (None, 0)


@pytest.mark.parametrize("name", ["[bold]", "a*", "what?"])
def test_a_name_that_orbax_takes_for_a_pattern_is_refused(tmp_path, name):
    with pytest.raises(SweepError, match="orbax takes for a pattern"):
        jaxloop.run(sweep.parse(TINY), out=tmp_path / name / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_hparams_of_any_words_are_shown_as_they_are(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import jaxloop\nfrom jaxloop.tasks import digits\n\nbase = digits()\n"
        "task = jaxloop.Task(base.init, base.loss, base.metrics, base.data,"
        " hparams={**base.hparams, 'words': ''}, models=base.models)\n"
    )
    words = ["<script>", "[/bold]", "[red]", "../../x", "a" * 300, "%d", "\x07"]
    axis = ", ".join(map(toml, words)).replace("\x07", "\\u0007")
    text = TINY.replace('"digits"', '"mine.py:task"').replace("steps = 60", "steps = 20")
    (tmp_path / "tiny.toml").write_text(
        text.replace("[checkpoint]", f"words = {{ values = [{axis}] }}\n[checkpoint]")
    )
    run = tmp_path / "run"
    command = [str(Path(sys.executable).parent / "jaxloop")]
    short = ["--set", "axes.seed.count=1", "--set", "axes.learning_rate.values=[0.01]"]
    done = subprocess.run(
        [*command, "population", str(tmp_path / "tiny.toml"), "--out", str(run), *short],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "[/bold]" in done.stdout
    best = subprocess.run([*command, "best", str(run)], capture_output=True, text=True)
    assert "[red]" in best.stdout
    assert verify(run)["problems"] == []
    inside = {path.resolve() for path in (run / "members").iterdir()}
    assert all(path.is_relative_to(run.resolve()) for path in inside)
    assert {path.name for path in tmp_path.iterdir()} <= {"mine.py", "tiny.toml", "run", "__pycache__"}

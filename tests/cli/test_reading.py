"""What `show`, `best` and `ls` print: chosen, sorted, as CSV, and of a run that has not ended."""

import csv
import io
import json
import re
import shutil

import pytest
from helpers.stopping import crashed

import jaxloop
from jaxloop.cli.select import selected
from jaxloop.errors import SweepError
from jaxloop.formatting import duration, value
from jaxloop.storage.store import Store


@pytest.fixture(scope="module")
def members(whole):
    with Store(whole) as store:
        return store.members()


def numbers(found):
    return [member.number for member in found]


def test_conditions_compare_hparams_metrics_and_facts(members):
    rate = members[2].hparams["learning_rate"]
    assert numbers(selected(members, [f"learning_rate={rate}"], None, None)) == [2, 3]
    assert numbers(selected(members, [f"learning_rate<{rate}", "seed = 1"], None, None)) == [1]
    assert numbers(selected(members, ["status=finished", "number>=4"], None, None)) == [4, 5]
    assert selected(members, ["status!=finished"], None, None) == []
    assert selected(members, ["optimizer='adamw'"], None, 1) == members[:1]
    losses = [member.metrics["validation/loss"] for member in members]
    found = selected(members, [f"validation/loss<={sorted(losses)[1]}"], None, None)
    assert sorted(numbers(found)) == sorted(sorted(range(6), key=losses.__getitem__)[:2])


def test_members_are_sorted_and_those_without_a_value_come_last(members):
    losses = [member.metrics["validation/loss"] for member in members]
    ascending = sorted(range(6), key=losses.__getitem__)
    assert numbers(selected(members, [], "validation/loss", None)) == ascending
    assert numbers(selected(members, [], "-validation/loss", 2)) == ascending[::-1][:2]
    assert numbers(selected(members, [], "-number", None)) == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("learning_rat=1", "did you mean `learning_rate`"),
        ("learning_rate", "needs NAME, one of"),
        ("learning_rate=fast", "cannot be compared with 'fast'"),
        ("status=finishd", "did you mean `finished`"),
        ("optimizer>3", None),
    ],
)
def test_a_condition_that_cannot_be_read_is_told(members, condition, says):
    if says is None:
        assert selected(members, [condition], None, None) == members  # words compare as words
        return
    with pytest.raises(SweepError, match=says):
        selected(members, [condition], None, None)


def test_show_prints_a_header_and_csv(whole, members, jaxloop_command):
    lines = jaxloop_command("show", whole, "--sort", "-number", "-k", "2").stdout.splitlines()
    assert lines[0].split()[:3] == ["member", "status", "step"]
    assert [line.split()[0] for line in lines[1:]] == ["0005", "0004"]
    assert lines[0].split()[4:] == ["learning_rate", "seed"]
    assert [line.split()[4:] for line in lines[1:]] == [["0.1", "1"], ["0.1", "0"]]
    assert len(set(map(len, lines))) == 1
    assert jaxloop_command("show", whole, "4").stdout == jaxloop_command("show", f"{whole}/4").stdout != ""
    rows = list(csv.DictReader(io.StringIO(jaxloop_command("show", whole, "--csv").stdout)))
    assert [float(row["validation/loss"]) for row in rows] == [m.metrics["validation/loss"] for m in members]
    assert [float(row["learning_rate"]) for row in rows] == [m.hparams["learning_rate"] for m in members]
    assert jaxloop_command("show", whole, "--where", "x=1").returncode == 2


@pytest.mark.slow
def test_best_of_an_interrupted_run_is_marked(tmp_path, jaxloop_command):
    run = crashed(tmp_path / "run", "checkpoint.every=20")
    shown = jaxloop_command("best", run)
    assert re.search(r"so far \(step \d+ at most\)", " ".join(shown.stdout.split()))
    assert "interrupted" in shown.stderr
    assert json.loads(jaxloop_command("best", run, "--json").stdout)
    (listed,) = json.loads(jaxloop_command("ls", tmp_path, "--json").stdout)
    assert 0 < listed["share_done"] < 1
    assert (listed["task"], listed["status"]) == ("digits", "interrupted")
    statuses = [line.split()[1] for line in jaxloop_command("show", run).stdout.splitlines()[1:]]
    assert statuses == ["unfinished"] * 6
    assert "6 unfinished" in jaxloop_command("ls", tmp_path).stdout
    assert "unfinished" in jaxloop_command("show", run, "0").stdout


def test_options_that_would_be_ignored_are_refused(whole, tiny, tmp_path, jaxloop_command):
    for words, says in (
        (["show", whole, "3", "--csv"], "go with a run"),
        (["show", whole / "3", "--where", "nonsense>1"], "go with a run"),
        (["population", tiny, "--name", "a", "--out", tmp_path / "b"], "--name and --out"),
    ):
        refused = jaxloop_command(*words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert says in refused.stderr
    with pytest.raises(SweepError, match=r"needs a tuple of settings, such as \('run.steps=50',\)"):
        jaxloop.run(tiny, out=tmp_path / "b", overrides="run.steps=50")
    with jaxloop.load(whole) as run, pytest.raises(SweepError, match="did you mean `members`"):
        run.frame("member")
    assert not (tmp_path / "b").exists()


def test_ls_tells_task_time_and_best_value(whole, jaxloop_command):
    line = jaxloop_command("ls", whole).stdout
    date, best = r"\d{4}-\d\d-\d\d \d\d:\d\d", r"validation/accuracy 0\.\d{4}"
    assert re.search(rf"  {date}  finished 100%  \d+ s of training  digits  {best}  6 members", line)


def test_ls_of_damaged_runs_alone_does_not_say_that_there_are_none(whole, tmp_path, jaxloop_command):
    shutil.copytree(whole, tmp_path / "runs" / "damaged")
    (tmp_path / "runs" / "damaged" / "run.sqlite").write_bytes(b"no database")
    said = jaxloop_command("ls", tmp_path / "runs").stderr
    assert "not a readable run file" in said
    assert "no runs" not in said
    (tmp_path / "runs" / "damaged" / "run.sqlite").unlink()
    assert "run.sqlite: is missing" in jaxloop_command("ls", tmp_path / "runs").stderr


def test_show_says_where_no_member_meets_the_conditions(whole, jaxloop_command):
    done = jaxloop_command("show", whole, "--where", "learning_rate=7")
    assert len(done.stdout.splitlines()) == 1
    assert f"{whole}: none of 6 members meets learning_rate=7" in done.stderr


def test_a_condition_takes_a_value_as_tables_show_it(whole):
    members = jaxloop.load(whole).members
    measured = members[2].metrics["validation/loss"]
    shown = value(measured)
    assert float(shown) != measured
    assert numbers(selected(members, [f"validation/loss={shown}"], None, None)) == [2]
    assert numbers(selected(members, [f"validation/loss!={shown}"], None, None)) == [0, 1, 3, 4, 5]


def test_durations_have_two_units_at_the_most():
    assert [duration(seconds) for seconds in (0.4, 59.6, 200, 7500)] == [
        "0 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]


def test_a_table_that_does_not_exist_is_told_from_a_member(whole, tmp_path, jaxloop_command):
    done = jaxloop_command("export", whole, "curvs", tmp_path / "out.csv")
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith("OUT.safetensors, got 'curvs'; did you mean `curves`?")
    assert not (tmp_path / "out.csv").exists()

import contextlib
import re
import subprocess
import sys

import pytest
from conftest import ROOT, TINY
from helpers.loops import CASES, LOOP
from hypothesis import given
from hypothesis import strategies as st

from jaxloop import api
from jaxloop.core.checks import check_sweep
from jaxloop.errors import SweepError
from jaxloop.sweep import catalog, sweep
from jaxloop.sweep.hparams import Namespace
from jaxloop.sweep.optimizers import OPTIMIZERS
from jaxloop.sweep.overrides import override


def test_the_resolved_sweep_reads_back_to_the_same_members():
    shipped = sweep.load(ROOT / "sweeps" / "lr_wd.toml")
    assert len(shipped.members) == 256
    assert sweep.parse(shipped.toml()).members == shipped.members


@given(st.integers(1, 10**6), st.integers(1, 50))
def test_overrides_win(steps, num):
    found = sweep.parse(TINY, (f"run.steps={steps}", f"axes.learning_rate.num={num}"))
    assert len(found.members) == 2 * num
    assert {m["steps"] for m in found.members} == {steps}


def test_an_override_may_turn_a_fixed_hparam_into_an_axis():
    found = sweep.parse(TINY, ("axes.width.values=[8, 16]", "hparams.optimizer=lion"))
    assert {m["width"] for m in found.members} == {8, 16}
    assert {m["optimizer"] for m in found.members} == {"lion"}
    assert all("eps" not in m for m in found.members)  # adamw's, not lion's


@pytest.mark.parametrize(
    ("line", "by", "says"),
    [
        ("steps = 60", "stps = 60", ["sweep:4: run.stps", "unknown key `stps`", "did you mean `steps`?"]),
        ("[run]", "seeds = 3\nsteps = 3\n[run]", ["steps: is not in a section", "did you mean `run.steps`?"]),
        ("width = 16", "widht = 16", ["sweep:7: hparams.widht", "did you mean `width`?"]),
        ("width = 16", "width = 0", ["sweep:7: hparams.width", "at least 1", "got 0"]),
        ("width = 16", 'width = "a"', ["sweep:7: hparams.width", "needs an integer", "'a'"]),
        ("width = 16", 'optimizer = "adamm"', ["sweep:7", "did you mean `adam`?"]),
        ("width = 16", "momentum = 0.9", ["sweep:7: hparams.momentum", "no optimizer of this sweep takes"]),
        ("width = 16", "lr = 0.1", ["sweep:7: hparams.lr", "did you mean `learning_rate`?"]),
        ("width = 16", "width = [16, 32]", ["sweep:7: hparams.width", "what varies belongs in [axes]"]),
        ("{ log = [1e-3, 1e-1], num = 3 }", "[1e-3]", ["sweep:11: axes.learning_rate", "{ values = [1, 2] }"]),
        ("log =", "lin =", ["sweep:11: axes.learning_rate.lin", "did you mean `linear`?"]),
        ("steps = 60", "steps = 6.0", ["sweep:4: run.steps", "needs an integer, got 6.0"]),
        ("width = 16", "learning_rate = 1.0", ["fixed in [hparams] as well"]),
        ("num = 3", "num = 0", ["sweep:11: axes.learning_rate.num"]),
        ("[1e-3, 1e-1]", "[0, 1]", ["sweep:11: axes.learning_rate", "`log` needs low > 0"]),
        ("log = [1e-3, 1e-1], num = 3", "values = [nan]", ["sweep:11", "finite number"]),
        (
            "log = [1e-3, 1e-1], num = 3",
            "values = [0.1, 0.1]",
            ["axes.learning_rate: repeats a value, so that members 0 and 2 are the same"],
        ),
        (
            "batch_size = 32\n[axes]\n",
            "[axes]\nbatch_size = { log = [30, 32], num = 4 }\n",
            ["axes.batch_size: repeats a value, so that members"],
        ),
        ("log = [1e-3, 1e-1], num = 3", "values = []", ["sweep:11: axes.learning_rate.values", "at least one"]),
        ("count = 2", "count = 10000000", ["30000000 members (", "seed 10000000", "population.max_members"]),
        ('"digits"', '"digit"', ["sweep:3: run.task", "did you mean `digits`?"]),
        ("every = 20", 'every = "soon"', ["sweep:14: checkpoint.every", '"60s"']),
        ("[run]", "[run", ["not TOML"]),
        ("width = 16", 'optimizer = "adamW"', ["sweep:7", "did you mean `adamw`?"]),
        ("width = 16", "Width = 16", ["sweep:7: hparams.Width", "did you mean `width`?"]),
        ("width = 16", 'model = "MLP"', ["sweep:7", "did you mean `mlp`?"]),
        ("width = 16", "LR = 0.1", ["sweep:7: hparams.LR", "did you mean `learning_rate`?"]),
        ('"digits"', '"mytask.py"', ["sweep:3: run.task", "the task in the file", "mytask.py:task"]),
        (
            "log = [1e-3, 1e-1], num = 3",
            "values = [0.1, 0.1000000000001]",
            ["learning_rate 0.1 and 0.1000000000001 are equal in float32"],
        ),
    ],
)
def test_errors_name_the_place_the_rule_and_the_value(line, by, says):
    assert line in TINY
    with pytest.raises(SweepError) as caught:
        sweep.parse(TINY.replace(line, by))
    for part in says:
        assert part in str(caught.value)


def test_all_errors_come_at_once():
    text = TINY.replace("width = 16", "widht = 16\nbatchsize = 3")
    with pytest.raises(SweepError) as caught:
        sweep.parse(text, ("hparams.depth=-1",))
    assert len(str(caught.value).splitlines()) == 3
    assert "--set hparams.depth=-1: hparams.depth" in str(caught.value)


def test_what_is_malformed_hides_nothing_else():
    """A section that is unknown, an axis without a form: names and values in the rest are checked all the same."""
    text = TINY.replace("[hparams]", "[hparam]\nx = 1\n[hparams]").replace(", num = 3", "")
    text += "[axes.widht]\nnum = 2\n"
    with pytest.raises(SweepError) as caught:
        sweep.parse(text)
    told = str(caught.value)
    for part in ("unknown key `hparam`", "needs `num`", "needs exactly one of", "unknown hparam `widht`; did you"):
        assert part in told, told
    assert len(told.splitlines()) == 4


def test_what_is_no_toml_is_told_with_its_line():
    with pytest.raises(SweepError, match=r"sweep:2: not TOML: .* \(column 5\)"):
        sweep.parse("\n[run\n")


def test_options_without_a_default_are_asked_for():
    with pytest.raises(SweepError, match=r"data\.path: needs the path of an \.npz file"):
        sweep.parse(TINY, ("run.task=arrays",))


def test_a_file_that_is_not_there_has_a_name_like_it(tiny):
    with pytest.raises(SweepError, match=r"no such file; did you mean `tiny\.toml`"):
        sweep.load(tiny.with_name("tinny.toml"))


@pytest.mark.parametrize(
    ("text", "is_loop", "says"),
    [
        (TINY, True, "sweep:2: run: has no [loop]: `jaxloop population` trains it"),
        (LOOP, False, "sweep:18: loop: has a [loop]: `jaxloop loop` runs it"),
    ],
)
def test_a_loop_and_a_sweep_are_told_apart(text, is_loop, says):
    checked = sweep.parse(text)
    sweep.check_kind(checked, is_loop=not is_loop)
    with pytest.raises(SweepError) as raised:
        sweep.check_kind(checked, is_loop=is_loop)
    assert str(raised.value) == says


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ((), None),
        (('population.scheduler="halving"',), "its loop or scheduler decides how long each member trains"),
        (('checkpoint.keep="none"',), "checkpoint.keep = 'none' does not keep training states"),
    ],
)
def test_more_steps_need_kept_states_and_budgets_of_their_own(overrides, says):
    assert sweep.parse(TINY, overrides).document.obstacle_to_more_steps() == says
    loops = "its loop or scheduler decides how long each member trains"
    assert sweep.parse(LOOP).document.obstacle_to_more_steps() == loops


def test_what_varies_are_axes_those_of_cases_and_in_a_loop_the_seed():
    assert sweep.parse(TINY).document.varied() == ["learning_rate", "seed"]
    assert sweep.parse(LOOP).document.varied() == ["learning_rate", "width", "activation", "seed"]
    of_cases = ["width", "activation", "optimizer", "learning_rate", "clip", "momentum", "seed"]
    assert sweep.parse(CASES).document.varied() == of_cases


@pytest.mark.parametrize(("written", "seconds"), [("90s", 90), ("1.5m", 90), ("2h", 7200), ("0.5s", 0.5)])
def test_a_checkpoints_interval_may_be_a_time(written, seconds):
    assert sweep.parse(TINY, (f"checkpoint.every={written}",)).document.checkpoint.seconds() == seconds
    with pytest.raises(SweepError, match="a time such as"):
        sweep.parse(TINY, ("checkpoint.every=0s",))


def test_a_folder_is_no_sweep_file(tmp_path):
    with pytest.raises(SweepError) as raised:
        sweep.load(tmp_path)
    assert str(raised.value) == f"{tmp_path}: is a folder; name the sweep file in it"


def test_a_mistake_in_a_file_is_told_with_its_path(tiny):
    tiny.write_text(TINY.replace("width = 16", "width = 0"))
    with pytest.raises(SweepError, match=rf"^{re.escape(str(tiny))}:7: hparams\.width: "):
        sweep.load(tiny)


def test_a_sweep_has_the_name_and_folder_of_its_file(tiny):
    assert (sweep.load(tiny).name, sweep.load(tiny).folder) == ("tiny", tiny.parent)


def test_one_mistake_is_told_once():
    with pytest.raises(SweepError) as caught:
        sweep.parse(TINY, ("hparams.optimizer=adamm", "hparams.b1=0.5"))
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(SweepError, match=r"did you mean `hparams\.optimizer`"):
        sweep.parse(TINY, ("optimizer=adam",))


@pytest.mark.parametrize(
    "assignment",
    [
        *("axes.learning_rte.num=3", "axes.width.nm=3", "checkpoint.every=2x", "runn.steps=3"),
        *("axes.seed.count=true", "axes.learning_rate.num=2.5"),
    ],
)
def test_what_set_got_wrong_is_told_with_it(assignment):
    with pytest.raises(SweepError, match=re.escape(f"--set {assignment}: ")):
        sweep.parse(TINY, (assignment,))


def test_a_time_needs_no_quotes():
    assert sweep.parse(TINY, ("checkpoint.every=1.5m",)).document.checkpoint.seconds() == 90


@given(st.text(max_size=80))
def test_any_text_gives_members_or_one_sweep_error(text):
    with contextlib.suppress(SweepError):  # any other exception fails
        assert sweep.parse(text).members


@pytest.mark.parametrize("arguments", [["--help"], ["population", "sweeps/lr_wd.toml", "--set", "run.x=1"]])
def test_help_and_sweep_errors_need_no_jax(arguments):
    code = (
        "import sys, jaxloop.cli; sys.argv[0] = 'jaxloop'\n"
        "try: jaxloop.cli.main()\n"
        "finally: sys.stderr.write('JAX' if 'jax' in sys.modules else 'no J')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stderr.endswith("no J")
    assert done.returncode == (0 if arguments == ["--help"] else 2)


def test_a_runs_name_is_no_path(tmp_path, tiny, jaxloop_command):
    done = jaxloop_command("population", tiny, "--name", "../run", cwd=tmp_path)
    assert (done.returncode, "--name: needs a name without folders" in done.stderr) == (2, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.toml"]


def test_a_sweep_error_writes_nothing(tmp_path, tiny, jaxloop_command):
    done = jaxloop_command("population", tiny, "--set", "run.steps=0", "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "--set run.steps=0: run.steps" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.toml"]


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ('hparams."opt.l2"=0.3', ("hparams", "opt.l2"), 0.3),
        ("hparams.'opt.l2' = 0.3", ("hparams", "opt.l2"), 0.3),
        ('axes."a=b".values=[1, 2]', ("axes", "a=b", "values"), [1, 2]),
        ('axes . "a \\" b" . values=["="]', ("axes", 'a " b', "values"), ["="]),
        ("hparams.λ=2", ("hparams", "λ"), 2),
        ('"run"."steps"=5', ("run", "steps"), 5),
    ],
)
def test_a_quoted_key_is_one_key(assignment, path, value):
    raw = {}
    assert override(raw, assignment) == path
    for part in path:
        raw = raw[part]
    assert raw == value


def test_an_error_in_a_quoted_key_names_its_line():
    broken = TINY.replace("width = 16", '"odd.name" = 16')
    with pytest.raises(SweepError, match=r"sweep:7: hparams.odd.name: unknown hparam `odd.name`"):
        sweep.parse(broken)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, mark):
    (tmp_path / "sweep.toml").write_text(mark + TINY.replace("[run]", "[run] # größer ± λ"), encoding="utf-8")
    assert len(sweep.load(tmp_path / "sweep.toml").members) == 6


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "sweep.toml").write_text(TINY, encoding="utf-16")
    with pytest.raises(SweepError, match="cannot be read"):
        sweep.load(tmp_path / "sweep.toml")


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_sampler_that_repeats_a_config_says_so(sampler):
    few = ("axes.learning_rate.values=[0.1, 0.2]", f"population.sampler={sampler}", "population.members=6")
    with pytest.raises(SweepError, match=f"population.sampler: .*{sampler} dr") as error:
        sweep.parse(TINY, few)
    assert "axis repeats" not in str(error.value)


OPTIMIZERS_NAMES = ["rho", "alpha", "beta", "momentum", "decay", "threshold"]


@pytest.mark.parametrize("name", OPTIMIZERS_NAMES)
def test_a_task_may_use_the_names_of_optimizers_that_the_sweep_does_not(name):
    def names_of(*_):
        return Namespace({name: 0.5})

    text = TINY.replace('"digits"', '"own.py:task"').replace("width = 16\ndepth = 2\n", "")
    for axis in (f"axes.{name}.values=[-3.0, 7.0]", f"hparams.{name}=2.0"):  # its bounds are its own
        found = sweep.parse(text, (axis,), names_of=names_of)
        assert {member[name] for member in found.members} <= {-3.0, 7.0, 2.0}
        assert sweep.parse(text, (axis,)).members  # before the task is loaded, nothing is said of it
    takers = [optimizer for optimizer, hparams in OPTIMIZERS.items() if name in hparams]
    for optimizer in takers:
        with pytest.raises(
            SweepError, match=f"run.task: declares an hparam `{name}`, which {optimizer} takes too"
        ):
            sweep.parse(text, (f"hparams.optimizer={optimizer}",), names_of=names_of)


@pytest.mark.parametrize("task", ["digits", "text"])
def test_the_metrics_that_a_shipped_task_is_declared_to_measure_are_those_that_it_measures(task):
    small = ["width=16"] if task == "digits" else ["width=8", "depth=1", "heads=1", "batch_size=2"]
    swept = sweep.parse(f'[run]\ntask = "{task}"\nsteps = 1\n[hparams]\n' + "\n".join(small))
    assert sorted(catalog.measured(task) or ()) == sorted(check_sweep(swept, api.task_of(swept)).measured)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            "evaluate.metric=validation/acuracy",
            "unknown metric `validation/acuracy`; did you mean `validation/accuracy`?",
        ),
        ("evaluate.metric=Validation/Loss", "did you mean `validation/loss`?"),
        ("evaluate.metric=train/grad_norm", "cannot infer a direction for `train/grad_norm`: set evaluate.mode"),
    ],
)
def test_a_metric_that_cannot_rank_is_refused_before_jax_is_loaded(override, says):
    code = (
        "import sys\nfrom jaxloop.sweep import sweep\nfrom jaxloop.errors import SweepError\n"
        f"try: sweep.parse({TINY!r}, ({override!r},))\n"
        "except SweepError as error: print(error, 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert says in done.stdout
    assert done.stdout.endswith("False\n")


def test_a_folder_that_is_taken_is_refused_before_jax_is_loaded(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").touch()
    code = (
        "import sys\nfrom jaxloop import cli\n"
        f"sys.argv = ['jaxloop', 'population', 'sweeps/lr_wd.toml', '--out', {str(tmp_path / 'run')!r}]\n"
        "try: cli.main()\nexcept SystemExit as stop: print(stop.code, 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "2 False\n"
    assert "exists already" in done.stderr

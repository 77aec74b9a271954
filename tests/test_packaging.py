"""What is built and installed: the wheel in an environment of its own, and the requirements that it names."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from conftest import ROOT, TINY

import jaxloop
from jaxloop import api

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(distribution):
    return distribution.lower().replace("_", "-")


def test_every_package_that_jaxloop_imports_is_required():
    """By the names of distributions, which may differ from those of modules."""
    distributions = importlib.metadata.packages_distributions()
    required = {normal(re.match(r"[\w-]+", text)[0]) for text in PROJECT["dependencies"]}
    imported = set()
    for file in (ROOT / "jaxloop").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    foreign = imported - sys.stdlib_module_names - {"jaxloop"}
    extras = {"optuna", "matplotlib", "pandas", "polars", "pyarrow", "safetensors"}
    of_others = {"typing_extensions", "IPython", *extras}  # pydantic requires the first, a notebook is the second
    missing = {name for name in foreign - of_others if not set(map(normal, distributions[name])) & required}
    assert not missing


@pytest.mark.parametrize("package", [jaxloop, api], ids=lambda package: package.__name__)
def test_public_names_are_listed_and_documented(package):
    assert set(package.__all__) == set(dir(package)) - {"__version__"}
    for name in package.__all__:
        assert getattr(package, name).__doc__, name


def test_there_is_one_version():
    assert jaxloop.__version__ == PROJECT["version"]


@pytest.mark.parametrize(
    ("used", "unloaded"),
    [
        ("api.run", ("orbax",)),  # it takes as long as half of JAX; most readers need none
        ("api.planned", ("orbax", "jaxloop.training.train", "jaxloop.readers")),
        ("choice", ("jax.",)),
    ],
)
def test_a_name_loads_only_what_it_needs(used, unloaded):
    loaded = f"print([name for name in sys.modules if name.startswith({unloaded})])"
    code = f"import sys, jaxloop, jaxloop.api; jaxloop.{used}; {loaded}"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.slow
def test_the_wheel_trains_in_an_environment_of_its_own(tmp_path, monkeypatch):
    """Its dependencies are those of the environment that builds it."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    built = [sys.executable, "-m", "build", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(built, check=True, capture_output=True)
    _, wheel = sorted((tmp_path / "dist").iterdir(), key=lambda file: file.suffix)
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    installed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    Path(installed, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (tmp_path / "tiny.toml").write_text(TINY)
    command = [tmp_path / "env" / "bin" / "jaxloop", "population", "tiny.toml", "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where = [python, "-c", "import jaxloop.api, importlib.resources as r; print(r.files('jaxloop') / 'py.typed')"]
    found = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    assert found == f"{installed}/jaxloop/py.typed"

"""Imports point down the list of layers only (docs/design.md)."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jaxloop"
LAYERS = [  # from the leaves up; modules of one layer may import each other, but not in a circle
    {
        "errors",
        "sizes",
        "optimizers",
        "declared",
        "axes",
        "document",
        "places",
        "rules",
        "sweep",
        "bucket",
        "slots",
        "identity",
        "facts",
        "records",
        "units",
        "absent",
    },
    {
        "task",
        "keys",
        "data",
        "subsets",
        "padding",
        "independence",
        "optim",
        "member",
        "chunks",
        "population",
        "devices",
        "contract",
        "checks",
        "cautions",
        "compiled",
        "traced",
        "planner",
        "space",
        "snapshot",
        "models",
        "tasks",
    },
    {
        "digests",
        "disk",
        "processes",
        "store",
        "checkpoints",
        "summaries",
        "provenance",
        "tune",
        "interrupt",
        "lock",
        "drift",
        "place",
    },
    {"report", "retired", "verify", "doctor", "diagnosis"},
    {
        *("resting", "kept", "create", "resuming"),
        *("failures", "finals", "progress", "recorder", "stream", "runner"),
        *("replay", "planned"),
    },
    {"api", "output", "panel", "cli", "__init__"},
]
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}


def imported(path: Path) -> set[str]:
    """The jaxloop modules that a file imports, anywhere in it but for type checkers."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jaxloop":
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("jaxloop.")}
    return {name for name in found if name in HEIGHT}


FILES = sorted(PACKAGE.rglob("*.py"))


def module(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_has_a_layer():
    assert {module(path) for path in FILES} == set(HEIGHT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    upward = {name for name in imported(path) if HEIGHT[name] > HEIGHT[module(path)]}
    assert not upward, f"{module(path)} imports {upward}, which stand above it"


def test_no_module_imports_itself_through_others():
    edges: dict[str, set[str]] = {}
    for path in FILES:
        edges.setdefault(module(path), set()).update(imported(path) - {module(path)})

    def reach(name, seen):
        for other in edges[name] - seen:
            seen.add(other)
            reach(other, seen)
        return seen

    circles = {name for name in edges if name in reach(name, set())}
    assert not circles


def test_plain_modules_load_no_jax():
    for name in LAYERS[0]:
        tree = ast.parse((PACKAGE / f"{name}.py").read_text())
        heads = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        heads |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {head for head in heads if head.split(".")[0] in ("jax", "flax", "optax", "orbax")}, name


def test_every_test_that_a_promise_names_exists():
    """docs/safety.md links each promise to its test."""
    promises = (PACKAGE.parent / "docs" / "safety.md").read_text()
    named = re.findall(r"`(?:tests/)?(test_\w+)\.py(?:::(\w+))?", promises)
    assert len(named) > 10
    for module_name, test in named:
        source = (Path(__file__).parent / f"{module_name}.py").read_text()
        assert f"def {test}(" in source if test else source

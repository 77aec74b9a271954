"""The folders are the layers: imports point one way, pure rooms touch nothing outside of the program."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jaxloop"
# Each room, and each module that stands beside them, imports from itself and from those before it.
ORDER = [
    "errors",
    "formatting",
    "loading",
    "sweep",
    "core",
    "models",
    "tasks",
    "storage",
    "training",
    "experiments",
    "readers",
    "api",
    "cli",
    "__main__",
]
APART = {"experiments": "readers", "readers": "experiments"}  # neither imports the other
WITHOUT_JAX = {"errors", "formatting", "loading", "sweep"}
PURE = {"core", "models"}
# What reads or changes something outside of the program: a disk, a clock, the environment, a signal.
IMPURE_MODULES = {
    "os",
    "pathlib",
    "time",
    "datetime",
    "psutil",
    "signal",
    "subprocess",
    "socket",
    "shutil",
    "tempfile",
    "io",
}
IMPURE_CALLS = {"open", "input", "print", "exec", "eval"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str) -> Iterator[str]:
    """The modules that a source imports, anywhere in it but for type checkers."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def upward(source: str, here: str) -> list[str]:
    """The imports of a source in a room that point to a later one."""
    rooms = {name: name.split(".")[1] for name in imports(source) if name.startswith("jaxloop.")}
    later = ORDER[ORDER.index(here) + 1 :]
    return [name for name, other in rooms.items() if other in later or other == APART.get(here)]


def impure(source: str) -> list[str]:
    """What a source imports or calls that reaches out of the program."""
    found = [name for name in imports(source) if name.split(".")[0] in IMPURE_MODULES]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"{node.func.id}()")
    return found


def test_every_module_is_in_a_room():
    assert {room(file) for file in FILES} == {*ORDER, "__init__"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way_and_pure_rooms_stay_pure(file):
    source, here = file.read_text(), room(file)
    if here != "__init__":  # the face of the package
        assert upward(source, here) == []
    if here in WITHOUT_JAX:
        assert not {name.split(".")[0] for name in imports(source)} & {"jax", "flax", "optax", "orbax"}
    if here in PURE:
        assert impure(source) == []


def test_a_planted_import_or_effect_is_found():
    source = (PACKAGE / "core" / "member.py").read_text()
    assert upward(f"{source}\nfrom jaxloop.storage.store import Store", "core") == ["jaxloop.storage.store.Store"]
    assert upward("def late():\n    from jaxloop import api", "storage") == ["jaxloop.api"]
    assert impure(f"{source}\nopen('file')") == ["open()"]
    assert impure(f"{source}\nimport os.path\nfrom pathlib import Path") == ["os.path", "pathlib.Path"]


def test_no_module_imports_itself_through_others():
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in FILES}
    edges = {}
    for name, file in names.items():
        targets = {target for each in imports(file.read_text()) for target in (each, each.rpartition(".")[0])}
        edges[name] = (targets & names.keys()) - {name}

    def reach(name: str, seen: set[str]) -> set[str]:
        for other in edges[name] - seen:
            seen.add(other)
            reach(other, seen)
        return seen

    assert not {name for name in edges if name in reach(name, set())}


def test_no_two_classes_have_one_name():
    classes = [
        node.name
        for file in FILES
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name[0] != "_"
    ]
    assert len(classes) == len(set(classes)), {name for name in classes if classes.count(name) > 1}


def test_every_test_that_a_promise_names_exists():
    """docs/safety.md links each promise to its test."""
    promises = (ROOT / "docs" / "safety.md").read_text()
    named = re.findall(r"`(?:tests/)?(?:\w+/)?(test_\w+)\.py(?:::(\w+))?", promises)
    assert len(named) > 10
    for module, test in named:
        (file,) = Path(__file__).parent.rglob(f"{module}.py")
        assert f"def {test}(" in file.read_text() if test else True

"""The modules that a task's file imports from its own folder: they are part of the task's code."""

import ast
from collections.abc import Iterator
from pathlib import Path

OURS = "jaxloop"  # whose checkout may lie there too


def modules(file: Path) -> dict[str, Path | None]:
    """Find the modules in a Python file's folder that it imports, directly or through each other.

    Import statements are read, not run, wherever they stand in a file: in a function or behind a condition too.

    Returns:
      Their files by dotted name, sorted; None for a folder that is a package without `__init__.py`.
    """
    found: dict[str, Path | None] = {}
    unread = [("", file)]
    while unread:
        package, source = unread.pop()
        for name in _imported(source, package):
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                prefix = ".".join(parts[:length])
                if prefix in found or parts[0] == OURS:
                    continue
                place = file.parent.joinpath(*parts[:length])
                if (path := place / "__init__.py").is_file():
                    unread.append((prefix, path))
                elif (path := place.with_suffix(".py")).is_file():
                    unread.append((prefix.rpartition(".")[0], path))
                elif not place.is_dir():
                    break
                else:
                    path = None
                found[prefix] = path
    return dict(sorted(found.items()))


def _imported(source: Path, package: str) -> Iterator[str]:
    """Yield the dotted names that a file may import; of `from a import b`, b may be a module or a value.

    Args:
      package: in which the file is, for relative imports.
    """
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):  # reported when the file is executed
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level and package else []
            )
            base = [*above, *(node.module or "").split(".")]
            yield from (".".join(filter(None, [*base, alias.name])) for alias in node.names)

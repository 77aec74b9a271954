"""The facts that a run's store keeps, by name, and their types: a store may be damaged, or come from anyone."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

Count = Annotated[int, Field(ge=0, le=2**31)]


class Rest(TypedDict):
    """A checkpoint: the turn that it was taken after, and the processes that have a part of it."""

    turn: Count
    parts: list[Count]


class Checkpoint(Rest):
    previous: NotRequired[Rest]


class Place(TypedDict):
    devices: Count
    kind: str
    processor: str
    threads: NotRequired[Count]


class Layout(TypedDict):
    capacity: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]


class Drift(TypedDict):
    """What had changed when a run was resumed all the same, after a turn; how, as lines of diffs."""

    turn: Count
    changes: list[str]
    diff: NotRequired[list[str]]


def _of_a_member(origin: dict[str, str]) -> dict[str, str]:
    if not {"code", "data"} <= origin.keys():
        raise ValueError(f"needs code and data, has {', '.join(origin)}")
    return origin


Origin = Annotated[dict[str, str], AfterValidator(_of_a_member)]
KINDS: dict[str, Any] = {
    "format": int,
    "name": str,
    "folder": str,
    "folder_from_run": str,
    "sweep": str,
    "written": str,
    "origins": Annotated[list[Origin], Field(min_length=1)],
    "source": str,
    "drift": list[Drift],
    "varied": list[str],
    "metric": str,
    "mode": Literal["max", "min"],
    "status": Literal["created", "running", "interrupted", "finished"],
    "checkpoint": Checkpoint,
    "size_classes": list[list[list[Count]]],
    "layout": Layout | None,
    "capacity": Count,
    "width": Count,
    "devices": Count,
    "place": Place,
    "notes": list[str],
    "growing": bool,
    "seconds": float,
    "member_steps": Count | float,
}
_ADAPTERS = {name: TypeAdapter(kind) for name, kind in KINDS.items()}
_ANYTHING = TypeAdapter(Any)


def read(key: str, text: str) -> Any:
    """A fact from its JSON; `layout/0` is of the kind `layout`.

    Raises:
      ValueError: it is not of its kind.
    """
    return _ADAPTERS.get(key.partition("/")[0], _ANYTHING).validate_json(text)

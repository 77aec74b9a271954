"""The facts that a run's store keeps, by name, each with its type."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from jaxloop.core.finals import Final
from jaxloop.storage.format_2 import with_present_keys

T = TypeVar("T")
Count = Annotated[int, Field(ge=0, le=2**31)]


class Shards(TypedDict):
    """A checkpoint: the turn that it was taken after, and the processes that have a part of it."""

    turn: Count
    parts: list[Count]


class CheckpointRecord(Shards):
    previous: NotRequired[Shards]


class Place(TypedDict):
    devices: Count
    kind: str
    processor: str
    threads: NotRequired[Count]


class ShareOfPeak(TypedDict):
    """The FLOP/s of a run's products as a share of the fastest that were measured on its machine, the peak."""

    share: Annotated[float, Field(ge=0)]
    peak: Annotated[float, Field(gt=0)]  # FLOP/s


class Totals(TypedDict):
    """What training has taken."""

    seconds: float
    member_steps: float


class SlotLayout(TypedDict):
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


SweepText = Annotated[str, AfterValidator(with_present_keys)]
Origin = Annotated[dict[str, str], AfterValidator(_of_a_member)]
RunStatus = Literal["created", "running", "interrupted", "finished"]
START: CheckpointRecord = {"turn": 0, "parts": []}  # of a run that has none yet: all members wait


class Fact(Generic[T]):
    """A fact of a run, as a typed attribute of its store.

    Args:
      kind: the type that its JSON is checked for when it is read: a store may be damaged, or come from anyone.
      default: its value where nothing is recorded; without one, the fact is required.
    """

    def __init__(self, kind: Any, *default: Any) -> None:
        self.adapter, self.default = TypeAdapter(kind), default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, store: "Facts", owner: type | None = None) -> T:
        return store.fact(self.name, self.adapter, *self.default)


class Facts(ABC):
    """The facts that a run's store keeps, by name. To add one, add a line here."""

    @abstractmethod
    def fact(self, name: str, adapter: TypeAdapter[Any], *default: Any) -> Any:
        """Return a recorded fact, or else its default.

        Raises:
          DamagedError: it is of another type, or it is required and missing.
        """

    format = Fact[int | None](int, None)
    name = Fact[str](str)
    folder = Fact[str](str)  # of the sweep, which its paths are relative to
    folder_from_run = Fact[str | None](str, None)
    forked_from = Fact[str | None](str, None)
    sweep = Fact[str](SweepText)  # in TOML, with every default written out
    written = Fact[str](SweepText)  # in TOML, as the user wrote it
    origins = Fact[list[Origin]](Annotated[list[Origin], Field(min_length=1)])  # the last is the present one
    source = Fact[str | None](str, None)  # of the task
    drift = Fact[list[Drift]](list[Drift], [])
    varied = Fact[list[str]](list[str])
    metric = Fact[str](str)
    mode = Fact[Literal["max", "min"]](Literal["max", "min"])
    final_kinds = Fact[list[Final]](list[Final], ["params"])  # what every member ends with
    status = Fact[RunStatus](RunStatus)
    ends_early = Fact[bool](bool, False)  # whether its task may end members before their last step
    checkpoint = Fact[CheckpointRecord](CheckpointRecord, START)
    size_classes = Fact[list[list[list[int]]]](list[list[list[Count]]])
    capacity = Fact[int | None](Count, None)
    group_size = Fact[int | None](Count, None)
    devices = Fact[int | None](Count, None)  # on which the run began
    place = Fact[Place | None](Place, None)
    in_one_place = Fact[bool](bool, False)  # whether one process at a time trained it, always on the same devices
    share_of_peak = Fact[ShareOfPeak | None](ShareOfPeak | None, None)  # of a run that has ended, if known
    notes = Fact[list[str]](list[str], [])
    growing = Fact[bool](bool, False)
    extended = Fact[list[int]](list[Count], [])  # members with more steps, until their events are written anew
    seconds = Fact[float](float, 0.0)
    member_steps = Fact[float](Count | float, 0)
    compile_seconds = Fact[float](float, 0.0)  # of all processes that ended, or were interrupted
    since_checkpoint = Fact[Totals | None](Totals | None, None)  # both, as of the last commit of a run that trains


NAMES = frozenset(name for name, value in vars(Facts).items() if isinstance(value, Fact))
LAYOUT = TypeAdapter(SlotLayout | None)

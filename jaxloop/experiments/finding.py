"""One thing that a run's results suggest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing to know, or to do.

    Attributes:
      kind: "waiting", "diverged", "importance", "boundary", "untested", "dead", "undecided", "close" or "plateau".
      says: in a sentence.
      facts: the numbers behind it.
    """

    kind: str
    says: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        return {"kind": self.kind, "says": self.says, **self.facts}

"""What a proposer is asked, and what it answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jaxloop.experiments.space import Config, Space, key

MOST_REPEATS = 1000  # of configs that are known already, before a proposer is taken to have no others


@dataclass(frozen=True)
class Known:
    """A config that has been tried.

    Attributes:
      value: the mean of its metric over the seeds of screening, more being better; None if none was finite.
      stopped_at: how far it came if it lost at a rung, with that value; else None.
    """

    config: Config
    value: float | None
    stopped_at: int | None = None


@dataclass(frozen=True)
class Proposal:
    """A config to try, and why.

    Attributes:
      expected: the effect that is predicted beside the incumbent, in units of the metric; None if there is none.
    """

    config: Config
    proposer: str
    hypothesis: str = ""
    expected: float | None = None

    def json(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "proposer": self.proposer,
            "hypothesis": self.hypothesis,
            "expected": self.expected,
        }


class Proposer(Protocol):
    """Proposes configs; each answer follows from what it is given alone, so that a loop can be resumed."""

    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        """Yield configs to try, maybe without end; those that are known already are passed over.

        Args:
          known: all that have been tried, in order.
          seed: of whatever is drawn.
        """
        ...


def proposals(
    name: str,
    proposer: Proposer,
    space: Space,
    known: Sequence[Known],
    incumbent: Config,
    count: int,
    seed: int,
    baseline: Config | None = None,
) -> list[Proposal]:
    """Return up to `count` proposals, all distinct and none of them known already.

    Args:
      baseline: which is not proposed either; None where the incumbent is still the baseline.
    """
    seen = {key(each.config) for each in known} | {key(incumbent), key(baseline or incumbent)}
    found: list[Proposal] = []
    repeats = 0
    for config in proposer.configs(space, known, incumbent, seed):
        if key(config) in seen:
            repeats += 1
        else:
            seen.add(key(config))
            found.append(Proposal(config, name))
        if len(found) == count or repeats > max(MOST_REPEATS, 2 * len(seen)):
            break
    return found

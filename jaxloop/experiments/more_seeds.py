"""Whether a sweep's best config leads by more than noise, and how many more seeds would show it."""

from collections.abc import Iterator, Sequence

from jaxloop.experiments.finding import Finding
from jaxloop.experiments.lead import Lead, is_clear
from jaxloop.experiments.spending import seeds_needed
from jaxloop.formatting import counted, shell_quoted
from jaxloop.storage.ranking import RankedConfig
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep

MOST_SEEDS = 100  # that are proposed to a user
MANY_SEEDS = 1000  # more are not counted
FIRST_SEEDS = 4  # of each config, that are proposed where each has one


def noise_findings(
    sweep: Sweep, store: Store, configs: Sequence[RankedConfig], found: Sequence[Lead | None]
) -> Iterator[Finding]:
    """Yield how many configs may be as good as the best, and how many seeds would separate the second from it.

    Args:
      configs: all with a finite mean, ranked.
      found: the leads of the first over the others.
    """
    if found and all(len(config.members) == 1 for config in configs):
        yield _of_one_seed(sweep, store)
    if not found or found[0] is None:
        return
    alike = sum(not is_clear(lead) for lead in found)
    says = f"{'so far, ' * store.trains}{alike} of {counted(len(found), 'other config')} cannot be told apart from"
    says += f" the best in {store.metric} with {found[0].seeds} seeds"
    if seeds := _seeds_to_separate(found[0]):
        wanted = f"about {seeds}" if seeds <= MANY_SEEDS else f"over {MANY_SEEDS:,}"
        says += f"; separating the second from it would take {wanted} seeds"
        if seeds <= MOST_SEEDS and (command := _more_seeds(sweep, store, seeds)):
            says += f": {command}"
    yield Finding("close", says, facts={"alike": alike, "seeds_needed": seeds})


def _of_one_seed(sweep: Sweep, store: Store) -> Finding:
    """Propose enough seeds to distinguish a better config from a lucky one."""
    says = f"one seed of a config cannot tell effects from noise: train {FIRST_SEEDS} of each"
    if command := _more_seeds(sweep, store, FIRST_SEEDS):
        says += f": {command}"
    return Finding("close", says, facts={"seeds_needed": FIRST_SEEDS})


def _more_seeds(sweep: Sweep, store: Store, seeds: int) -> str:
    """Return the command that gives each config so many seeds; "" where there is none."""
    axes, axis = sweep.document.axes, sweep.document.axes.get("seed")
    had = axis.count if axis else 1 if sweep.document.hparams.get("seed", 0) == 0 else None
    if store.trains or "fold" in axes or had is None or had >= seeds:
        return ""
    settings = [f"axes.seed.count={seeds}"]
    if members := sweep.document.population.members:  # of a sampler that draws: it counts them all
        settings.append(f"population.members={members // had * seeds}")
    words = " ".join(f"--set {setting}" for setting in settings)
    return f"`jaxloop resume {shell_quoted(store.path.parent)} {words}`"


def _seeds_to_separate(lead: Lead) -> int | None:
    """Estimate the seeds of each config that would show a lead which its interval leaves open, if it does."""
    if not lead.effect > 0 or not lead.deviation or lead.low > 0:
        return None
    return seeds_needed(lead.effect / lead.deviation, lead.level)

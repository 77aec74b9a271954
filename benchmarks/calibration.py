"""How often a loop calls something better that is not: simulated loops, judged by jaxloop's own functions.

Noise has a standard deviation of 1, so that effects are in standard deviations over seeds. Rules that are in use
elsewhere stand beside jaxloop's protocol, on the same noise.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import measure
import numpy as np
from scipy import stats

from jaxloop.experiments.spending import Spending, power
from jaxloop.experiments.verdict import Criteria, Outcome, judge

ROUNDS, CHALLENGERS = 3, 4
EXPERIMENTS = 96  # of a sequential loop
SPENDING = Spending(rounds=ROUNDS)
CRITERIA = Criteria("max")
Noise = Callable[[np.random.Generator, Any], np.ndarray]
NOISE: dict[str, Noise] = {
    "normal": lambda random, shape: random.normal(size=shape),
    "t, 3 degrees": lambda random, shape: random.standard_t(3, size=shape) / np.sqrt(3),
    "skewed": lambda random, shape: random.exponential(size=shape) - 1,
}


def values(random: np.random.Generator, noise: Noise, configs: int, rho: float) -> np.ndarray:
    """(configs, seeds) values of the metric, correlated by seed."""
    seeds = SPENDING.looks[-1]
    return np.sqrt(rho) * noise(random, seeds) + np.sqrt(1 - rho) * noise(random, (configs, seeds))


def outcome(challenger: np.ndarray, incumbent: np.ndarray, of_round: float, challengers: int) -> Outcome:
    """What a comparison ends with, at whichever look."""
    last = len(SPENDING.looks) - 1
    for look, n in enumerate(SPENDING.looks):
        level = SPENDING.level(of_round, look, challengers)
        verdict = judge(challenger[:n], incumbent[:n], CRITERIA, level=level, is_last=look == last)
        if verdict.outcome is not None:
            return verdict.outcome
    raise AssertionError("the last look always decides")


def has_false_success(random: np.random.Generator, noise: Noise, effects: list[float], rho: float) -> bool:
    """Whether a loop of jaxloop's protocol calls a challenger better that is not.

    Args:
      effects: of a round's challengers, beside the incumbent of that round.
    """
    recycled = 0.0
    for number in range(1, ROUNDS + 1):
        incumbent, *challengers = values(random, noise, 1 + len(effects), rho)
        of_round = SPENDING.of_round(number, recycled)
        succeeded = [
            outcome(challenger + effect, incumbent, of_round, len(effects)) == Outcome.SUCCESS
            for challenger, effect in zip(challengers, effects, strict=True)
        ]
        if any(success and effect <= 0 for success, effect in zip(succeeded, effects, strict=True)):
            return True
        recycled = SPENDING.recycled(of_round, sum(succeeded), len(effects))
    return False


def keeps_the_best(noise: np.ndarray) -> bool:
    """Keep an experiment if its one seed beats the best value so far."""
    return bool((noise[1:, 0] > noise[0, 0]).any())


def keeps_above_a_floor(noise: np.ndarray) -> bool:
    """Keep it if it beats the best by twice the difference of two seeds of the baseline."""
    best, floor = noise[0, :2].mean(), 2 * abs(noise[0, 0] - noise[0, 1])
    return bool((noise[1:, 0] > best + floor).any())


def keeps_two_of_two(noise: np.ndarray) -> bool:
    """Keep it if both of its seeds beat both of the incumbent's."""
    return bool((noise[1:, :2].min(1) > noise[0, :2].max()).any())


def keeps_by_t_test(noise: np.ndarray) -> bool:
    """Keep it if a paired t-test on 8 fresh seeds gives p < 0.05, uncorrected."""
    differences = noise[1:, :8] - noise[1:, 8:16]
    t = differences.mean(1) / (differences.std(1, ddof=1) / np.sqrt(8))
    return bool((t > stats.t.isf(0.05, 7)).any())


OTHERS = {
    "keep the best": keeps_the_best,
    "floor of two seeds": keeps_above_a_floor,
    "two beat two": keeps_two_of_two,
    "uncorrected t-test": keeps_by_t_test,
}


def share(flags: Iterator[bool], count: int) -> dict[str, float]:
    """Of loops with a false success, and the upper 95% bound of that share (Clopper and Pearson 1934)."""
    found = sum(flags)
    bound = float(stats.beta.ppf(0.95, found + 1, count - found)) if found < count else 1.0
    return {"share": found / count, "upper bound": round(bound, 4)}


def false_successes(loops: int) -> Iterator[dict[str, Any]]:
    half = [1.5, 1.5, 0.0, 0.0]
    cases: dict[str, tuple[Noise, list[float]]] = {
        name: (noise, [0.0] * CHALLENGERS) for name, noise in NOISE.items()
    }
    cases["normal, half the challengers 1.5 better"] = NOISE["normal"], half
    for name, (noise, effects) in cases.items():
        for rho in (0.0, 0.5):
            random = np.random.default_rng(0)
            one = functools.partial(has_false_success, random, noise, effects, rho)
            yield {"rule": "jaxloop", "noise": name, "rho": rho, **share((one() for _ in range(loops)), loops)}
    for name, rule in OTHERS.items():
        random = np.random.default_rng(0)
        flags = (rule(random.normal(size=(1 + EXPERIMENTS, 16))) for _ in range(loops))
        yield {"rule": name, "noise": "normal", "rho": 0.0, **share(flags, loops)}


def powers(loops: int) -> Iterator[dict[str, Any]]:
    """The chance that a true improvement which was promoted is called a success, in the first round."""
    of_round = SPENDING.of_round(1)
    for rho in (0.0, 0.5):
        for effect in (0.5, 1.0, 2.0):
            random = np.random.default_rng(0)
            found = 0
            for _ in range(loops):
                incumbent, challenger = values(random, NOISE["normal"], 2, rho)
                found += outcome(challenger + effect, incumbent, of_round, CHALLENGERS) == Outcome.SUCCESS
            level, n = SPENDING.level(of_round, len(SPENDING.looks) - 1, CHALLENGERS), SPENDING.looks[-1]
            alone = power(effect / np.sqrt(2 * (1 - rho)), n, level)
            yield {"effect": effect, "rho": rho, "power": found / loops, "at the last look alone": round(alone, 4)}


def main() -> None:
    parser = measure.parser(str(__doc__).splitlines()[0])
    arguments = parser.parse_args()
    loops = 200 if arguments.quick else 10_000
    rows = []
    for row in false_successes(loops):
        rows.append(row)
        case = f"{row['rule']:20} {row['noise']:40} rho {row['rho']}"
        print(f"{case}: {row['share']:.2%} (at most {row['upper bound']:.2%})")
    seen = list(powers(loops))
    for row in seen:
        print(f"effect {row['effect']} sd, rho {row['rho']}: seen in {row['power']:.2%} of loops")
    if arguments.chart:
        null = [row for row in rows if row["rho"] == 0.0]
        names = [row["noise"] if row["rule"] == "jaxloop" else row["rule"] for row in null]
        measure.bars(
            arguments.chart, names, {"false successes": [row["share"] for row in null]}, "share of loops", "linear"
        )
    measure.publish({"loops": loops, "rows": rows, "power": seen}, arguments.json)


if __name__ == "__main__":
    main()

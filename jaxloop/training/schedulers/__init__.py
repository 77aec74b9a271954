"""Schedulers that a sweep may name in `population.scheduler`."""

from collections.abc import Callable

from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.scheduler import RunToBudget, Scheduler
from jaxloop.training.schedulers.asha import Asha
from jaxloop.training.schedulers.halving import Halving
from jaxloop.training.schedulers.median import MedianStopping
from jaxloop.training.schedulers.pbt import Pbt

SCHEDULERS: dict[str, Callable[[Sweep, Store], Scheduler]] = {
    "budget": lambda sweep, store: RunToBudget(),
    "halving": Halving,
    "asha": Asha,
    "median": MedianStopping,
    "pbt": Pbt,
}

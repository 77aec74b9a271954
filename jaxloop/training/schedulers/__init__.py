"""Schedulers that a sweep may name in `population.scheduler`."""

from collections.abc import Callable

from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.scheduler import RunToBudget, Scheduler
from jaxloop.training.schedulers.asha import asha
from jaxloop.training.schedulers.halving import halving
from jaxloop.training.schedulers.median import MedianStopping
from jaxloop.training.schedulers.pbt import Pbt
from jaxloop.training.schedulers.rungs import per_program

SCHEDULERS: dict[str, Callable[[Sweep, Store], Scheduler]] = {
    "budget": lambda sweep, store: RunToBudget(),
    "halving": lambda sweep, store: per_program(sweep, store, halving),
    "asha": lambda sweep, store: per_program(sweep, store, asha),
    "median": MedianStopping,
    "pbt": Pbt,
}

"""Schedulers that a sweep may name in `population.scheduler`."""

"""Proposers: what to try next, from a search space and what is known of it."""

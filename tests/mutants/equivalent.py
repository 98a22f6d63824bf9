"""Mutants that no test can catch, by name, each with the reason."""

EQUIVALENT: dict[str, str] = {}

"""Fails, each time."""

from typing import Any


def handler(event: dict[str, Any], _context: Any) -> None:
    raise LookupError(event["detail"]["say"])

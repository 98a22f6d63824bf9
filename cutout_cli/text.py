"""Names, numbers and times as one line of text."""

from datetime import datetime
from pathlib import Path


def shown(path: Path | str) -> str:
    """A file name or key without line breaks and terminal codes, relative where it can be."""
    path = str(path)
    if Path(path).is_absolute() and Path(path).is_relative_to(Path.cwd()):
        path = str(Path(path).relative_to(Path.cwd()))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def when(time: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"

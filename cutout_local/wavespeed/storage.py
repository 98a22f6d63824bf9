"""Files that the server keeps for a while: uploads and outputs."""

from datetime import datetime, timedelta
from pathlib import Path


class Storage:
    """A folder whose oldest files go when they are older than `retention` or too many bytes."""

    def __init__(self, folder: Path, retention: timedelta, max_bytes: int) -> None:
        self._folder = folder
        self._retention = retention
        self._max_bytes = max_bytes
        self._kept: dict[Path, tuple[datetime, int]] = {}

    def path(self, name: str) -> Path:
        """Where a file of this name lies or would lie."""
        return self._folder / name

    def keep(self, path: Path, now: datetime) -> None:
        """Count a file that was written, and drop what is too old or too much."""
        self._kept[path] = now, path.stat().st_size
        total = sum(size for _, size in self._kept.values())
        for old, (since, size) in list(self._kept.items()):
            if now - since < self._retention and total <= self._max_bytes:
                break
            self.drop(old)
            total -= size

    def drop(self, path: Path) -> None:
        """Remove a file, if it is there."""
        self._kept.pop(path, None)
        path.unlink(missing_ok=True)

"""What the server must still know after a restart."""

from datetime import datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pydantic import TypeAdapter


class Entry(Protocol):
    """What a dataclass has to be written in books."""

    id: str
    created_at: datetime


EntryT = TypeVar("EntryT", bound=Entry)


class Books(Generic[EntryT]):
    """A folder with a file for each entry, written so that a kill at any moment leaves it whole."""

    def __init__(self, folder: Path, kind: type[EntryT], suffix: str) -> None:
        self._folder = folder
        self._adapter = TypeAdapter(kind)
        self._suffix = suffix

    def write(self, entry: EntryT) -> None:
        """Keep an entry as it is now."""
        file = self._file(entry)
        new = file.with_suffix(".new")
        new.write_bytes(self._adapter.dump_json(entry))
        new.replace(file)

    def drop(self, entry: EntryT) -> None:
        self._file(entry).unlink(missing_ok=True)

    def read(self) -> list[EntryT]:
        """Every entry that was kept, oldest first."""
        files = self._folder.glob(f"*{self._suffix}")
        entries = [self._adapter.validate_json(file.read_bytes()) for file in files]
        return sorted(entries, key=lambda entry: entry.created_at)

    def _file(self, entry: EntryT) -> Path:
        return self._folder / f"{entry.id}{self._suffix}"

"""Which photos a command line means, and under which names their cut-outs are saved."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


class PhotoNotFound(Exception):
    """A path leads to no photo."""


@dataclass(frozen=True)
class Photo:
    """A file to upload as `key`, whose cut-out is saved under `name` (a relative path)."""

    path: Path
    key: str
    name: str


def find_photos(paths: Iterable[Path]) -> list[Photo]:
    """The photos that files and folders stand for. Raises `PhotoNotFound`.

    A file is taken whatever its name, for its bytes decide; of a folder, what is named a picture.
    """
    found = [item for path in paths for item in _found(path)]
    photos: list[Photo] = []
    names: set[str] = set()
    keys: set[str] = set()
    for path, relative in found:
        key = _free(relative.as_posix(), keys)
        name = _free(relative.with_suffix(".png").as_posix(), names)
        photos.append(Photo(path, key, name))
    return photos


def _found(path: Path) -> list[tuple[Path, Path]]:
    """Files with their path relative to what was named."""
    if path.is_file():
        return [(path, Path(path.name))]
    if not path.is_dir():
        raise PhotoNotFound(f"{path}: no such file or folder")
    files = [(file, file.relative_to(path)) for file in sorted(path.rglob("*"))]
    pictures = [item for item in files if item[0].is_file() and _is_picture(item[0])]
    if not pictures:
        raise PhotoNotFound(f"{path}: no pictures in this folder ({', '.join(sorted(PICTURES))})")
    return pictures


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURES and not file.name.startswith(".")


def _free(wanted: str, taken: set[str]) -> str:
    """A name like the wanted one that is not taken yet, and is from now on."""
    stem, dot, suffix = wanted.rpartition(".")
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{dot}{suffix}" if dot else f"{wanted}-{number}"
    taken.add(name)
    return name

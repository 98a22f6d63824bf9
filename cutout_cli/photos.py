"""Which photos a command line means, and under which names their PNGs are saved."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cutout_cli.errors import PhotoNotFound, WouldOverwrite
from cutout_cli.text import shown

# Written here since Pillow, which knows them too, takes long to import.
IMAGE_SUFFIXES = frozenset(
    {".apng", ".avif", ".avifs", ".bmp", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif"}
    | {".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


@dataclass(frozen=True)
class Photo:
    """A file to upload as `key`, whose PNG is saved under `name` (a relative path)."""

    path: Path
    key: str
    name: str


@dataclass(frozen=True)
class Found:
    """The photos of a command line, and how many files of which kind its folders hold besides."""

    photos: list[Photo]
    skipped: Counter[str]


def find_photos(paths: Iterable[Path], prefix: str = "") -> Found:
    """The photos that files and folders stand for; `prefix` comes before each key.

    A file is taken whatever its name, for its bytes decide; of a folder, what is named an image.
    Raises `PhotoNotFound`.
    """
    photos: list[Photo] = []
    skipped: Counter[str] = Counter()
    names: set[str] = set()
    keys: set[str] = set()
    places: set[str] = set()
    for path in paths:
        for file, relative in _found(path, skipped):
            place = os.path.normpath(file.absolute())
            if place in places:
                continue  # named twice, by itself and by its folder
            if not os.access(file, os.R_OK):
                raise PhotoNotFound(f"{shown(file)}: permission denied")
            places.add(place)
            key = _free(prefix + _text(relative.as_posix()), keys)
            name = _free(relative.with_suffix(".png").as_posix(), names)
            photos.append(Photo(file, key, name))
    return Found(photos, skipped)


def check_targets(photos: Iterable[Photo], out: Path, *, force: bool) -> None:
    """Raise `WouldOverwrite` if a PNG would take the place of a photo, or of a file unasked."""
    photos = list(photos)
    sources = {photo.path.resolve() for photo in photos}
    for photo in photos:
        if (out / photo.name).resolve() in sources:
            raise WouldOverwrite(
                f"{shown(out / photo.name)} is one of the photos and would be replaced; "
                "choose another folder with --out"
            )
    existing = [out / photo.name for photo in photos if (out / photo.name).exists()]
    if existing and not force:
        some = ", ".join(map(shown, existing[:3])) + (", ..." if len(existing) > 3 else "")
        raise WouldOverwrite(
            f"{some}: {'is' if len(existing) == 1 else 'are'} there already; "
            "add --force to replace, or choose another folder with --out"
        )


def _found(path: Path, skipped: Counter[str]) -> list[tuple[Path, Path]]:
    """Files with their path relative to what was named."""
    if path.is_file():
        return [(path, Path(path.name))]
    if not path.is_dir():
        raise PhotoNotFound(f"{shown(path)}: no such file or folder")
    files = [(file, file.relative_to(path)) for file in sorted(path.rglob("*")) if file.is_file()]
    others = [file for file, _ in files if not _is_image(file)]
    skipped.update(map(_kind, others))
    if len(others) == len(files):
        raise PhotoNotFound(f"{shown(path)}: no images in this folder{_but(others)}")
    return [item for item in files if _is_image(item[0])]


def _but(others: list[Path]) -> str:
    kinds = Counter(map(_kind, others))
    endings = " ".join(sorted(IMAGE_SUFFIXES))
    return f", only {listed(kinds)}; an image ends in {endings}" if kinds else ""


def listed(kinds: Counter[str]) -> str:
    """How many files of which kind, such as "3 .heic, 1 hidden"."""
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def _kind(file: Path) -> str:
    if file.name.startswith("."):
        return "hidden"
    return file.suffix.lower() or "without a suffix"


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")


def _text(name: str) -> str:
    """A file name as S3 takes it: bytes that are no UTF-8 are written as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _free(wanted: str, taken: set[str]) -> str:
    """A name like the wanted one that is not taken yet, and is from now on."""
    stem, dot, suffix = wanted.rpartition(".")
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{dot}{suffix}" if dot else f"{wanted}-{number}"
    taken.add(name)
    return name

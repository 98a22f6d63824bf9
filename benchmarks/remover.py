"""Measure the remover against photos whose alpha is known.

    python -m benchmarks.remover photos/            # name.jpg beside name.alpha.png
                                                    # kinds: name and category in manifest.csv
    python -m benchmarks.remover                    # scikit-image's sample photo, no reference

IoU compares the pixels that are more than half opaque; the alpha error is the mean absolute
difference, 0 to 1.
"""

import argparse
import csv
import time
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.data import coffee

from cutout_local.remover import NoSubject, decode, remove

MAX_PIXELS = 50_000_000


class Row(NamedTuple):
    """One photo's result."""

    name: str
    iou: float
    error: float
    seconds: float
    level: str


def main() -> None:
    arguments = _arguments()
    if arguments.folder is None:
        measure_sample()
        return
    photos = sorted(arguments.folder.glob("*.jpg"))
    if not photos:
        raise SystemExit(f"no .jpg files in {arguments.folder}")
    rows = [measure(photo) for photo in photos]
    print_table(rows)
    print_kinds(rows, kinds(arguments.folder))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the background remover.")
    parser.add_argument("folder", nargs="?", type=Path, help="name.jpg beside name.alpha.png")
    return parser.parse_args()


def measure_sample() -> None:
    photo = coffee()  # type: ignore[no-untyped-call]
    start = time.perf_counter()
    cutout = remove(photo)
    seconds = time.perf_counter() - start
    print(f"coffee: {seconds:.2f} s, confidence {cutout.confidence}, level {cutout.level}")


def measure(photo: Path) -> Row:
    """Compare one photo's alpha with its reference; no subject counts as all transparent."""
    rgb = decode(photo.read_bytes(), MAX_PIXELS)
    reference = np.asarray(Image.open(photo.with_suffix(".alpha.png")).convert("L")) / 255
    alpha, level = np.zeros(reference.shape), "-"
    start = time.perf_counter()
    try:
        cutout = remove(rgb)
        alpha, level = cutout.rgba[..., 3] / 255, cutout.level
    except NoSubject:
        pass
    seconds = time.perf_counter() - start
    error = float(np.abs(alpha - reference).mean())
    return Row(photo.stem, iou(alpha, reference), error, seconds, level)


def iou(alpha: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    found, wanted = alpha > 0.5, reference > 0.5
    return float((found & wanted).sum() / max((found | wanted).sum(), 1))


def print_table(rows: list[Row]) -> None:
    print(f"{'photo':30}{'IoU':>8}{'error':>8}{'seconds':>9}  level")
    for row in rows:
        print(f"{row.name:30}{row.iou:8.3f}{row.error:8.3f}{row.seconds:9.2f}  {row.level}")
    for title, summary in (("mean", mean), ("median", median)):
        columns = [summary(values) for values in list(zip(*rows, strict=True))[1:4]]
        print("{:30}{:8.3f}{:8.3f}{:9.2f}".format(title, *columns))


def kinds(folder: Path) -> dict[str, str]:
    """What each photo shows, by its name, if the folder has a list of that."""
    manifest = folder / "manifest.csv"
    if not manifest.exists():
        return {}
    with manifest.open(newline="") as file:
        return {line["name"]: line["category"] for line in csv.DictReader(file)}


def print_kinds(rows: list[Row], kinds: dict[str, str]) -> None:
    for kind in sorted(set(kinds.values())):
        chosen = [row for row in rows if kinds.get(row.name) == kind]
        if chosen:
            columns = [mean(values) for values in list(zip(*chosen, strict=True))[1:4]]
            print("{:30}{:8.3f}{:8.3f}{:9.2f}".format(f"{kind} ({len(chosen)})", *columns))


if __name__ == "__main__":
    main()

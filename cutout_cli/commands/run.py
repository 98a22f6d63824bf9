"""`cutout run`."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.errors import FAILED


def sheet_name(path: Path | None) -> Path | None:
    """What `--sheet` names. Raises `BadParameter` unless it says the format."""
    if path and path.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
        raise typer.BadParameter("a sheet is a .jpg or a .png")
    return path


def run(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Files and folders; a sample if left out."),
    ] = None,
    out: options.Out = Path("out"),
    force: options.Force = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            callback=sheet_name,
            metavar="FILE",
            help="Save photos and PNGs side by side, as out/sheet.jpg.",
        ),
    ] = None,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
    parameter: options.Parameters = None,
) -> None:
    """Start the whole stack, send photos through it, save their PNGs, stop it again.

    One line per photo goes to standard output, all else to standard error.

    \b
    cutout run
    cutout run photo.jpg album/ --out cut --sheet cut/sheet.jpg
    cutout run album/ -p ImagesPerMinute=60 --json
    """
    from cutout_cli import parameters
    from cutout_cli.deliver import DeliveryOptions
    from cutout_cli.run import run_photos

    checked = parameters.checked(parameter or [])
    wanted = DeliveryOptions(out.resolve(), force, timeout, as_json, sheet)
    with tempfile.TemporaryDirectory() as scratch:
        chosen = photos or [sample(Path(scratch))]
        succeeded = run_photos(chosen, checked, wanted)
    raise typer.Exit(0 if succeeded else FAILED)


def sample(folder: Path) -> Path:
    """The photo for those who have none at hand: `skimage.data.coffee()`, CC0."""
    from importlib.resources import files

    from PIL import Image

    photo = folder / "coffee.jpg"
    # By its file, for scikit-image takes longer to import than to show a picture.
    with (files("skimage") / "data" / "coffee.png").open("rb") as file:
        Image.open(file).save(photo, quality=95)
    return photo

"""`cutout run`: the whole stack for the time of a few photos."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from cutout_cli import report
from cutout_cli.deliver import Delivery, DeliveryOptions
from cutout_cli.errors import BadParameters, CannotSave, WouldOverwrite
from cutout_cli.photos import Found, check_targets, find_photos, listed
from cutout_cli.stacks import local
from cutout_cli.text import shown
from cutout_local.stack import local_stack


def run_photos(paths: list[Path], parameters: Mapping[str, str], options: DeliveryOptions) -> bool:
    """Cut out every photo and tell how it went; whether all succeeded.

    Raises a `CommandError`, `LocalAwsError` or `ServerError`.
    """
    if parameters.get("ExistingInputBucket"):
        raise BadParameters("ExistingInputBucket: a run starts a new account, without any bucket")
    found = find_photos(paths, prefix=parameters.get("InputPrefix", ""))
    check_files(found, options)
    told = report.console(stderr=True)
    if found.skipped:
        told.print(f"skipped, for they are not named as images: {listed(found.skipped)}")
    started = time.monotonic()
    with local_stack(parameters=parameters) as running:
        running.wavespeed.wait_for_remover()
        told.print(f"the stack is up after {time.monotonic() - started:.1f} s")
        delivery = Delivery(local(running.environment), options)
        jobs = delivery.upload(found.photos)
        succeeded = delivery.follow(jobs)
    if len(jobs) == 1 and (table := report.steps(jobs[0])) and (task := jobs[0].task):
        told.print(table)
        told.print(report.ledger_line(task))
    return succeeded


def check_files(found: Found, options: DeliveryOptions) -> None:
    """Raise `WouldOverwrite` unless all that will be saved can be, before anything starts."""
    if options.out:
        check_targets(found.photos, options.out, force=options.force)
        check_folder(options.out)
    if options.sheet:
        check_sheet(options.sheet, found, options)


def check_sheet(sheet: Path, found: Found, options: DeliveryOptions) -> None:
    """Raise `WouldOverwrite` if the sheet would take the place of a photo, a PNG or a file."""
    check_folder(sheet.parent)
    taken = {photo.path.resolve() for photo in found.photos}
    if options.out:
        taken |= {(options.out / photo.name).resolve() for photo in found.photos}
    if sheet.resolve() in taken:
        raise WouldOverwrite(f"{shown(sheet)} is one of the photos or PNGs; name another --sheet")
    if sheet.exists() and not options.force:
        raise WouldOverwrite(f"{shown(sheet)} is there already; add --force to replace")


def check_folder(folder: Path) -> None:
    """Make a folder if need be. Raises `CannotSave` if nothing can be saved in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotSave(f"cannot make {shown(folder)}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotSave(f"cannot save in {shown(folder)}: permission denied")

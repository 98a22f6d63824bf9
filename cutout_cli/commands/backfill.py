"""`cutout backfill`."""

from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.terminal import confirm, tell


@options.of_stack
def backfill(
    find_stack: options.FindStack,
    prefix: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Only keys that begin so; several go side by side."),
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(metavar="S3_URL", help="Read this manifest of an S3 Inventory instead."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop what runs.")] = False,
    page_size: options.PageSize = 1000,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Send what is in the input bucket and not in the ledger, after saying how much it is.

    It runs in the account: this command may end meanwhile, and follows it when it is called again.
    Stopped, it goes on when it is started again: what the ledger or a PNG knows is left out.

    \b
    cutout backfill --dry-run
    cutout backfill --prefix 2024/ --prefix 2025/ --stack cutout
    cutout backfill --manifest s3://inventories/photos/all/2026-01-31T01-00Z/manifest.json
    cutout backfill --stop
    """
    from cutout_cli import backfill as backfills
    from cutout_cli.pages import cursors, followed

    if prefix and manifest:
        raise typer.BadParameter("an inventory is read as a whole; leave out --prefix")
    found = find_stack()
    runs = backfills.runs(found)
    if stop:
        tell(f"stopped: {', '.join(runs.stop()) or 'nothing, for nothing was running'}")
        return
    begin = cursors(found, prefix or [], manifest)
    if running := runs.running():
        tell(f"{running[0]} is running already; this follows it")
        counts = followed(runs, running[0])
    else:
        counts = followed(runs, runs.start(begin, page_size, dry_run=True))
    told = backfills.estimate(found, counts)
    sends = bool(told.missing and not dry_run and not running)
    if sends and not yes:
        confirm(f"{told.line()}; send them?")
    if sends:
        counts = followed(runs, runs.start(begin, page_size))
        told = backfills.estimate(found, counts)
    print(told.as_json(sent=sends) if as_json else told.line() + ("; sent" if sends else ""))

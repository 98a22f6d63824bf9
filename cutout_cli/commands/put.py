"""`cutout put`."""

from pathlib import Path
from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.errors import FAILED


@options.of_stack
def put(
    find_stack: options.FindStack,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files and folders.")],
    prefix: Annotated[str, typer.Option(help="What comes before each key.")] = "",
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="User metadata, such as cutout-sync=true."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow them to their PNGs.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Save the PNGs in it; waits for them."),
    ] = None,
    force: options.Force = False,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
) -> None:
    """Upload photos, several at a time, but not what is there with the same content already.

    \b
    cutout put album/ --prefix summer/
    cutout put photo.jpg --metadata cutout-sync=true --wait
    cutout put album/ --out cut --stack cutout
    """
    from cutout_cli.deliver import DeliveryOptions
    from cutout_cli.put import pairs, put_photos

    found = find_stack()
    wanted = DeliveryOptions(
        out and out.resolve(), force, timeout, as_json, metadata=pairs(metadata or [])
    )
    succeeded = put_photos(found, paths, prefix, wanted, wait=wait or out is not None)
    raise typer.Exit(0 if succeeded else FAILED)

"""`cutout put`."""

from pathlib import Path
from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.errors import FAILED


def put(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.")],
    prefix: Annotated[str, typer.Option(help="What comes before each key.")] = "",
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="User metadata, such as cutout-sync=true."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow them to their PNGs.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Save the PNGs in this folder; waits for them.")
    ] = None,
    force: options.Force = False,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Upload photos, several at a time, but not what is there with the same content already.

    \b
    cutout put album/ --prefix summer/
    cutout put photo.jpg --metadata cutout-sync=true --wait
    cutout put album/ --out cut --stack cutout
    """
    from cutout_cli.deliver import DeliveryOptions
    from cutout_cli.put import pairs, put_photos
    from cutout_cli.stacks import find_stack

    found = find_stack(stack, region, profile, aws_port)
    wanted = DeliveryOptions(
        out and out.resolve(), force, timeout, as_json, metadata=pairs(metadata or [])
    )
    succeeded = put_photos(found, paths, prefix, wanted, wait=wait or out is not None)
    raise typer.Exit(0 if succeeded else FAILED)

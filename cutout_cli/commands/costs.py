"""`cutout costs`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cutout_cli import options


@options.of_stack
def costs(
    find_stack: options.FindStack,
    since: options.Since = None,
    images: Annotated[
        int | None,
        typer.Option("--estimate", min=1, metavar="N", help="A month with so many images."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """What the images of the ledger cost, or what a month with more like them would.

    The price is the vendor's if WAVESPEED_API_KEY is set, else PricePerImage. What AWS takes is
    reckoned at its list prices from the requests that an image makes, which docs/costs.md has.

    \b
    cutout costs
    cutout costs --since 30d --stack cutout
    cutout costs --estimate 100000
    """
    from cutout_cli.costs import bill
    from cutout_cli.status import time_of
    from cutout_cli.tasks import Tasks

    begin = time_of(since, datetime.now(UTC)) if since else None
    found = find_stack()
    told = bill(found, Tasks(found).find(since=begin), images)
    print(told.as_json() if as_json else "\n".join(told.lines()))

"""`cutout limit`."""

from decimal import Decimal
from typing import Annotated

import typer

from cutout_cli import options


@options.of_stack
def limit(
    find_stack: options.FindStack,
    images_per_minute: Annotated[
        int | None, typer.Option(min=0, max=10_000, help="0 is no limit.")
    ] = None,
    daily_budget: Annotated[
        float | None, typer.Option(min=0, max=1_000_000, metavar="USD", help="0 is no limit.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Change the rate or the budget at once, without a deployment; without options, show them.

    What is set here holds until it is set again, whatever the template's parameters say.

    \b
    cutout limit --images-per-minute 60
    cutout limit --daily-budget 5.50 --stack cutout
    """
    from cutout_cli import limits

    governor = limits.governor(find_stack())
    if images_per_minute is not None:
        governor.set_rate(images_per_minute)
    if daily_budget is not None:
        governor.set_budget(Decimal(str(daily_budget)))
    print(limits.told(governor.plan(), as_json=as_json))

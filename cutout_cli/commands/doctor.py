"""`cutout doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer

from cutout_cli import options
from cutout_cli.errors import FAILED
from cutout_cli.terminal import asked, wanted

if TYPE_CHECKING:
    from cutout_cli.stacks import Stack


@options.of_stack
def doctor(
    find_stack: options.FindStack,
    image: Annotated[
        bool | None,
        typer.Option("--image/--no-image", help="Send a small image through it, which is paid."),
    ] = None,
    alarm: Annotated[
        bool | None,
        typer.Option("--alarm/--no-alarm", help="Set an alarm, to see whether its message comes."),
    ] = None,
    yes: options.Yes = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that the image may take.")] = 300,
    as_json: options.Json = False,
) -> None:
    """Look at everything that a stack needs: what it means, and how to mend it.

    The key, balance and price are those that the stack's own functions see. An image and an alarm
    are tried only if you say so. Ends with 1 if anything failed.

    \b
    cutout doctor
    cutout doctor --stack cutout --no-image --no-alarm
    cutout doctor --stack cutout --yes --json
    """

    found = find_stack()
    well = is_well(found, image=image, alarm=alarm, yes=yes, timeout=timeout, as_json=as_json)
    raise typer.Exit(0 if well else FAILED)


def is_well(
    found: "Stack",
    *,
    image: bool | None = None,
    alarm: bool | None = None,
    yes: bool = False,
    timeout: float = 300,
    as_json: bool = False,
) -> bool:
    """Print what every check finds; whether none failed."""
    from cutout_cli.checks import CHECKS
    from cutout_cli.doctor import State, Trial, examine
    from cutout_cli.trials import AlarmTrial, ImageTrial

    price = found.parameters["PricePerImage"]
    send = f"send one image through it, for some ${price}?"
    trials = [
        Trial("image", ImageTrial(found, timeout), lambda: wanted(send, image, yes=yes)),
        Trial(
            "alarm",
            AlarmTrial(lambda question: None if yes else asked(question)),
            lambda: wanted("set an alarm, as a test?", alarm, yes=yes),
        ),
    ]
    failed = False
    for finding in examine(found, CHECKS, trials):
        failed = failed or finding.state is State.FAILED
        print(finding.as_json() if as_json else "\n".join(finding.lines()), flush=True)
    return not failed

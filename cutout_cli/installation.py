"""The commands that bring a stack about, and look whether it is well."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cutout_cli import options
from cutout_cli.errors import FAILED, NotConfirmed

if TYPE_CHECKING:
    from cutout_cli.stacks import Stack

app = typer.Typer()


@app.command()
def doctor(
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
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Look at everything that a stack needs: what it means, and how to mend it.

    The key, balance and price are those that the stack's own functions see. An image and an alarm
    are tried only if you say so. Ends with 1 if anything failed.

    \b
    cutout doctor
    cutout doctor --stack cutout --no-image --no-alarm
    cutout doctor --stack cutout --yes --json
    """
    from cutout_cli.stacks import find_stack

    found = find_stack(stack, region, profile, aws_port)
    well = is_well(found, image=image, alarm=alarm, yes=yes, timeout=timeout, as_json=as_json)
    raise typer.Exit(0 if well else FAILED)


@app.command()
def deploy(
    stack: Annotated[str, typer.Option(help="The name of the stack, new or not.")] = "cutout",
    region: options.Region = None,
    profile: options.Profile = None,
    parameter: options.Parameters = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A tag for all resources; several may be given."),
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="What `sam build` made; that of `make build` if left out.")
    ] = None,
) -> None:
    """Ask what matters, deploy to AWS, wait until uploads are seen, and look whether all is well.

    Of a stack that is there, everything stays that you do not change. The key is kept as a secret:
    it comes into no command line and no history. Other parameters are given with -p.

    \b
    cutout deploy
    cutout deploy --stack photos --region eu-central-1 -p Webhook=on --tag team=web
    """
    from cutout_cli import deploy as deploying
    from cutout_cli import parameters
    from cutout_cli.stacks import find_stack

    given, tags = parameters.checked(parameter or []), deploying.tags_of(tag or [])
    if not sys.stdin.isatty():
        raise NotConfirmed("there is nobody to ask; use sam deploy")
    found = find_stack(stack, region, profile)
    who = found.client("sts").get_caller_identity()
    where = f"account {who['Account']} in {found.client('sts').meta.region_name}"
    tell(f"the stack {stack} in {where}; Enter keeps what is in brackets")
    one = deploying.Deployment(found, template or deploying.TEMPLATE, tell)
    answers = one.ask(given)
    one.store_key(parameters.defaults() | (one.present() or {}) | answers)
    deploying.watch_existing(found, answers.get("ExistingInputBucket", ""), tell)
    reached = {"--region": region, "--profile": profile}
    one.deploy(answers, tags, [w for o, v in reached.items() if v for w in (o, v)])
    deployed = find_stack(stack, region, profile)
    deploying.wait_until_seen(deployed, tell)
    raise typer.Exit(0 if is_well(deployed) else FAILED)


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


def tell(text: str) -> None:
    """What is for people."""
    print(text, file=sys.stderr, flush=True)


def wanted(question: str, option: bool | None, *, yes: bool) -> bool | None:
    """What the command line says, or else a person; None if there is none to ask."""
    if option is not None:
        return option
    return True if yes else asked(question)


def asked(question: str) -> bool | None:
    """A person's answer; None if there is none to ask."""
    return typer.confirm(question, err=True) if sys.stdin.isatty() else None

"""Options that several commands have."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cutout_cli.stacks import Stack

PORTS = {"min": 0, "max": 65535}

AwsPort = Annotated[
    int, typer.Option(envvar="CUTOUT_AWS_PORT", help="Port of the AWS services.", **PORTS)
]
WhichPort = Annotated[
    int | None,
    typer.Option(
        "--aws-port",
        envvar="CUTOUT_AWS_PORT",
        help="Which local stack, if several are up.",
        **PORTS,
    ),
]
WaveSpeedPort = Annotated[
    int,
    typer.Option(envvar="CUTOUT_WAVESPEED_PORT", help="Port of the WaveSpeed server.", **PORTS),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter of the template, such as Webhook=on; can be given several times.",
    ),
]
StackName = Annotated[
    str | None,
    typer.Option("--stack", help="A stack on AWS; the local one that is up if left out."),
]
Region = Annotated[str | None, typer.Option(help="The stack's AWS region.")]
Profile = Annotated[str | None, typer.Option(help="A profile of the AWS configuration.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]
Timeout = Annotated[
    float,
    typer.Option(
        min=0, metavar="SECONDS", help="Give up when nothing has changed for so long; 0: never."
    ),
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where PNGs are saved.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Key = Annotated[
    str | None, typer.Argument(metavar="KEY", help="The key or s3:// URL of an upload.")
]
KeyOrTask = Annotated[
    str,
    typer.Argument(
        metavar="KEY|TASK_ID", help="The key or s3:// URL of an upload, or a task's id."
    ),
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Created since: 30m, 2h, 7d, 2026-01-31.")
]
PageSize = Annotated[int, typer.Option(min=1, max=1000, help="Objects that are looked at at once.")]


@contextmanager
def taken_ports_explained(wavespeed_option: str) -> Iterator[None]:
    """Say how to choose another port."""
    from cutout_cli.errors import PortInUse
    from cutout_local.aws.errors import PortTaken
    from cutout_local.wavespeed.errors import CannotListen

    choose = "choose another with"
    try:
        yield
    except PortTaken as error:
        raise PortInUse(f"{error}; {choose} --aws-port or CUTOUT_AWS_PORT") from None
    except CannotListen as error:
        option = f"{wavespeed_option} or CUTOUT_WAVESPEED_PORT"
        raise PortInUse(f"{error}; {choose} {option}") from None


FindStack = Callable[[], "Stack"]
_WHICH_STACK = {"stack": StackName, "region": Region, "profile": Profile, "aws_port": WhichPort}


def of_stack(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a stack; its first parameter finds that stack."""
    (first, *own) = signature(command).parameters.values()
    parameters = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own] + [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _WHICH_STACK.items()
    ]

    @wraps(command)
    def with_options(**given: Any) -> None:
        from cutout_cli import stacks

        which = [given.pop(name) for name in _WHICH_STACK]
        command(**{first.name: lambda: stacks.find_stack(*which)}, **given)

    # Where Typer reads what a command takes.
    with_options.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {
        parameter.name: parameter.annotation for parameter in parameters
    }
    return with_options

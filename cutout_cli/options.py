"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

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
    typer.Option(min=0, help="Give up when nothing has changed for so many seconds; 0: never."),
]
Out = Annotated[Path, typer.Option(help="Folder for the PNGs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

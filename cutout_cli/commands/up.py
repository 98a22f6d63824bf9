"""`cutout up`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from cutout_cli import options


def up(
    aws_port: options.AwsPort = 5566,
    wavespeed_port: options.WaveSpeedPort = 5567,
    parameter: options.Parameters = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keeps everything for next time, tasks that run too."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the servers' logs too.")] = False,
) -> None:
    """Keep the local stack running until Ctrl-C or `cutout down`; tell what becomes of uploads.

    \b
    cutout up
    cutout up --data kept -p Webhook=on
    """
    from cutout_cli import parameters, state_file
    from cutout_cli.environment import exports
    from cutout_cli.stacks import local
    from cutout_cli.tell_tasks import tell_tasks
    from cutout_local.stack import local_stack

    checked = parameters.checked(parameter or [])
    level = logging.INFO if verbose else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s %(name)s %(message)s")
    with (
        options.taken_ports_explained("--wavespeed-port"),
        state_file.publisher() as publish,
        local_stack(
            aws_port=aws_port,
            wavespeed_port=wavespeed_port,
            parameters=checked,
            data=data and data.resolve(),
        ) as stack,
    ):
        stack.wavespeed.wait_for_remover()
        publish(stack.aws.port, stack.environment)
        print("\n".join(exports(stack.environment)))
        print(f"# the log of AWS: {stack.aws.log}")
        print('# the stack is up; in another terminal: eval "$(.venv/bin/cutout env)"')
        print("# Ctrl-C ends it", flush=True)
        tell_tasks(local(stack.environment))

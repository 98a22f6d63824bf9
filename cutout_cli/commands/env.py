"""`cutout env`."""

from typing import Annotated

import typer

from cutout_cli import options


def env(
    unset: Annotated[bool, typer.Option("--unset", help="Print what takes them back.")] = False,
    dotenv: Annotated[
        bool, typer.Option("--dotenv", help="Print the lines of a .env file.")
    ] = False,
    aws_port: options.WhichPort = None,
) -> None:
    """Print the running stack's endpoints and resources, for a shell to evaluate.

    Variables of your own that would lead the AWS CLI or an SDK elsewhere are unset.

    \b
    eval "$(cutout env)"
    eval "$(cutout env --unset)"
    cutout env --dotenv > .env
    """
    from cutout_cli import environment, state_file

    told = state_file.running_stack(aws_port).environment
    if dotenv:
        lines = environment.dotenv(told)
    else:
        lines = environment.unsets(told) if unset else environment.exports(told)
    print("\n".join(lines))

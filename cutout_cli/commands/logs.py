"""`cutout logs`."""

from typing import Annotated

import typer

from cutout_cli import options


def logs(
    name: Annotated[
        str, typer.Argument(metavar="KEY|TASK_ID", help="The key of an upload, or a task's id.")
    ],
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """The log lines of all functions about an upload's newest task, in order of time.

    \b
    cutout logs album/cat.jpg
    cutout logs album/cat.jpg --stack cutout --json
    """
    from cutout_cli.logs import FunctionLogs
    from cutout_cli.stacks import find_stack
    from cutout_cli.tasks import Tasks

    found = find_stack(stack, region, profile, aws_port)
    (task,) = Tasks(found).named(name)
    for line in FunctionLogs(found).about(task):
        print(line.as_json() if as_json else line.text_line())

"""`cutout erase`."""

import json
from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.text import plural, shown


def erase(
    name: Annotated[
        str, typer.Argument(metavar="KEY|TASK_ID", help="The key of an upload, or a task's id.")
    ],
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Delete the results of an upload's newest task at the vendor, who keeps them for seven days.

    Those of earlier attempts go, too. The PNG stays in the output bucket. Needs WAVESPEED_API_KEY.

    \b
    cutout erase album/cat.jpg
    cutout erase 5b3f0c9a7e1d4f28b6a09c3d2e1f4a5b --stack cutout
    """
    from cutout_cli.erase import erase as erase_results
    from cutout_cli.stacks import find_stack
    from cutout_cli.tasks import Tasks

    found = find_stack(stack, region, profile, aws_port)
    (task,) = Tasks(found).named(name)
    deleted = erase_results(found, task)
    names = {"key": task.key, "task_id": task.task_id}
    line = {**names, "predictions": task.predictions, "deleted": deleted}
    text = f"deleted {deleted} of {plural(len(task.predictions), 'result')} at the vendor"
    rest = "" if deleted == len(task.predictions) else "; the vendor had no more"
    print(json.dumps(line) if as_json else f"{shown(task.key)}: {text}{rest}")

"""`cutout erase`."""

import json

from cutout_cli import options
from cutout_cli.text import plural, shown


@options.of_stack
def erase(
    find_stack: options.FindStack,
    name: options.KeyOrTask,
    as_json: options.Json = False,
) -> None:
    """Delete the results of an upload's newest task at the vendor, who keeps them for seven days.

    Those of earlier attempts go, too. The PNG stays in the output bucket. Needs WAVESPEED_API_KEY.

    \b
    cutout erase album/cat.jpg
    cutout erase 5b3f0c9a7e1d4f28b6a09c3d2e1f4a5b --stack cutout
    """
    from cutout_cli.erase import erase as erase_results
    from cutout_cli.tasks import Tasks

    found = find_stack()
    (task,) = Tasks(found).named(name)
    deleted = erase_results(found, task)
    names = {"key": task.key, "task_id": task.task_id}
    line = {**names, "predictions": task.predictions, "deleted": deleted}
    text = f"deleted {deleted} of {plural(len(task.predictions), 'result')} at the vendor"
    rest = "" if deleted == len(task.predictions) else "; the vendor had no more"
    print(json.dumps(line) if as_json else f"{shown(task.key)}: {text}{rest}")

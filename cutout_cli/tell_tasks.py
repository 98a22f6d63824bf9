"""`cutout up`: a line for each upload that has ended or must wait."""

from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from cutout.domain.errors import CutoutError
from cutout.domain.tasks import Status, Task
from cutout_cli.stacks import Stack
from cutout_cli.status import line
from cutout_cli.tasks import Tasks, looks

_EVERY = 1.0  # seconds


def tell_tasks(stack: Stack) -> None:
    """Print news of a stack's tasks for ever; what was there before is none."""
    told: dict[str, str] = {}
    for look in looks(_EVERY):
        for text in news(stack, told):
            if look:
                print(text, flush=True)


def news(stack: Stack, told: dict[str, str]) -> Iterator[str]:
    """The lines of tasks that have not been told, which are then in `told`, by task."""
    for task in _tasks(stack):
        text = line(task)
        if (task.status.ended or task.reason) and told.get(task.task_id) != text:
            told[task.task_id] = text
            yield text


def _tasks(stack: Stack) -> list[Task]:
    try:
        return sorted(Tasks(stack).find(frozenset(Status)), key=lambda task: task.created_at)
    except (CutoutError, ClientError, BotoCoreError):
        return []  # the stack may have been deleted, or is being updated

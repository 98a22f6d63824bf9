"""Delete at the vendor what is saved here."""

from cutout.domain.tasks import SAVED, Task
from cutout_cli.errors import NotErased
from cutout_cli.stacks import Stack


def erase(stack: Stack, task: Task) -> int:
    """Delete the predictions of all of a task's attempts; how many of them the vendor had still.

    Raises `NotErased` while somebody needs them, and what the vendor's client raises.
    """
    if task.attempt and task.status not in SAVED:
        raise NotErased(f"the task is {task.status}: its result is not saved, and may be paid")
    if not task.predictions:
        raise NotErased("the vendor has no result of it: it was not sent, or its PNG is a copy")
    if stack.vendor is None:
        raise NotErased("set WAVESPEED_API_KEY: the vendor deletes for the key's account only")
    return stack.vendor.delete(task.predictions)

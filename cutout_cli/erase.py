"""Delete at the vendor what is saved here."""

from cutout.domain.tasks import Status, Task
from cutout_cli.errors import NotErased
from cutout_cli.stacks import Stack
from cutout_cli.tasks import Tasks

_SAVED = {Status.COMPLETED, Status.SUPERSEDED}


def erase(stack: Stack, task: Task) -> bool:
    """Delete a task's prediction at the vendor; whether the vendor had it still.

    Raises `NotErased` while somebody needs it, and what the vendor's client raises.
    """
    if task.status not in _SAVED:
        raise NotErased(f"the task is {task.status}: its result is not saved, and may be paid")
    if task.reused_from or not task.prediction_id:
        raise NotErased("the vendor has no result of it: it was not sent, or its PNG is a copy")
    # Whether an uncertain submit was accepted is found out from the vendor's history.
    if next(Tasks(stack).find(frozenset({Status.UNCERTAIN})), None):
        raise NotErased("a task is uncertain; settle it first: cutout status --open")
    if stack.vendor is None:
        raise NotErased("set WAVESPEED_API_KEY: the vendor deletes for the key's account only")
    return stack.vendor.delete(task.prediction_id)

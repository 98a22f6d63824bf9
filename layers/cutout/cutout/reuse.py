"""Of uploads with the same bytes one is paid, and the others get a copy of its PNG.

Who pays is noted once its submit is written ahead. Whoever comes later looks at the payer's task:
while that is on its way he waits for its PNG, once it is completed he copies it, and if it came to
nothing he pays himself. So nobody waits for what never comes, whichever function is killed.
"""

from dataclasses import dataclass

from cutout.domain.tasks import AttemptId, Task
from cutout.store.contents import Contents
from cutout.store.ledger import Ledger


@dataclass(frozen=True)
class Reuse:
    """Raises `ServiceError`, to be tried again."""

    ledger: Ledger
    contents: Contents

    def source(self, task: Task, model: str) -> str | None:
        """The id of the task that has, or will have, the PNG of the same content by a model."""
        return self._source(task, self.contents.payer(task, model))

    def claim(self, task: Task, model: str) -> str | None:
        """Note that this attempt, which is about to be sent, pays; or the source, if it need not.

        Of several who claim at once, one pays.
        """
        while True:
            payer = self.contents.payer(task, model)
            if source := self._source(task, payer):
                return source
            if self.contents.claim(task, model, instead_of=payer):
                return None

    def _source(self, task: Task, payer: AttemptId | None) -> str | None:
        if payer is None or payer.task_id == task.task_id:
            return None
        found = self.ledger.find(payer.task_id)
        return found.task_id if found and (found.is_sent or found.png_is_known) else None

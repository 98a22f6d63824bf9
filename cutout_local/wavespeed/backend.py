"""The server's parts, wired together once for each application."""

from datetime import timedelta
from pathlib import Path

import httpx

from cutout.wavespeed.contract import PredictionStatus, SubmitRequest
from cutout_local.wavespeed.account import Account
from cutout_local.wavespeed.books import Books
from cutout_local.wavespeed.contract import MODEL_NOT_FOUND
from cutout_local.wavespeed.errors import BadRequest, NotFound
from cutout_local.wavespeed.faults import Fault, Faults, RequestedFaults
from cutout_local.wavespeed.media import Fetcher, Resolve, is_web_url, web_client
from cutout_local.wavespeed.pool import CutOut
from cutout_local.wavespeed.runner import Background, Runner
from cutout_local.wavespeed.settings import Model, Settings
from cutout_local.wavespeed.storage import Storage
from cutout_local.wavespeed.tasks import Clock, Task, Tasks, new_id
from cutout_local.wavespeed.uploads import Upload, Uploads
from cutout_local.wavespeed.webhooks import Webhooks


class Backend:
    """Everything behind the routes. Made inside the event loop that serves.

    The tasks and uploads in the folder's books are known, and tasks that had not ended are worked
    on again.
    """

    def __init__(
        self,
        settings: Settings,
        cut_out: CutOut,
        folder: Path,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None,
        resolve: Resolve,
    ) -> None:
        self.settings = settings
        self.models = {model.id: model for model in settings.models}
        self.account = Account(settings.balance, settings.tier)
        self.faults = Faults()
        self.tasks = Tasks(clock, settings.retention, settings.max_tasks)
        self._clock = clock
        self._storage = Storage(folder, settings.retention, settings.max_stored_bytes)
        self.uploads = Uploads(
            self._storage,
            Books(folder, Upload, ".ticket"),
            clock,
            settings.retention,
            settings.max_image_bytes,
        )
        self._client = web_client(settings, transport, resolve)
        fetcher = Fetcher(self._client, settings.fetch_timeout, settings.max_image_bytes)
        self._webhooks = Webhooks(self._client, self.faults, settings)
        self._deliveries = Background()
        self._runner = Runner(fetcher, cut_out, self.faults, settings.workers, self._on_end)
        self._books = Books(folder, Task, ".task")
        for task in self._books.read():
            self._know_again(task)
        self._keep_again()

    def model(self, model_id: str) -> Model:
        """A model of the catalogue. Raises `BadRequest`."""
        try:
            return self.models[model_id]
        except KeyError as error:
            raise BadRequest(MODEL_NOT_FOUND) from error

    @staticmethod
    def check(request: SubmitRequest, webhook: str | None) -> None:
        """Raise `BadRequest` unless all URLs are URLs."""
        if not is_web_url(request.image):
            raise BadRequest("image: not an http or https URL")
        if webhook is not None and not is_web_url(webhook):
            raise BadRequest("webhook: not an http or https URL")

    def accept(
        self,
        model: Model,
        request: SubmitRequest,
        base_url: str,
        webhook: str | None,
        asked: RequestedFaults,
    ) -> Task:
        """Bill a task and begin it; raise a `Refusal` and bill nothing."""
        now = self._clock()
        self.account.charge(model.price, self._runner.open_tasks, now)
        task_id = new_id()
        late = self.faults.fires(Fault.HISTORY_LATE, request.image, asked)
        task = Task(
            id=task_id,
            model=model.id,
            request=request,
            price=model.price,
            created_at=now,
            listed_at=now + timedelta(seconds=late or 0),
            base_url=base_url,
            output=self._storage.path(f"{task_id}.png"),
            webhook=webhook,
            asked=asked,
        )
        self._add(task)
        self._books.write(task)
        self._runner.start(task)
        return task

    def _add(self, task: Task) -> None:
        if gone := self.tasks.add(task):
            self._books.drop(gone)

    def _know_again(self, task: Task) -> None:
        self._add(task)
        if not task.refunded:
            self.account.balance -= task.price
        if not task.status.ended:
            self._runner.start(task)
            return
        task.ended.set()

    def _keep_again(self) -> None:
        """Have the files of both kinds in one row: the oldest go first."""
        files = [(task.created_at, task.output) for task in self.tasks.all()]
        files += [(upload.created_at, upload.path) for upload in self.uploads.all()]
        for since, path in sorted(files):
            if path.exists():
                self._storage.keep(path, since)

    def output(self, task_id: str) -> Task:
        """A task whose output can be downloaded. Raises `NotFound`."""
        task = self.tasks.find(task_id)
        if not task.output_urls or not task.output.exists():
            raise NotFound("there is no such output, or it has expired")
        return task

    def delete(self, ids: list[str]) -> int:
        """Delete tasks that have ended, with their outputs; return how many."""
        gone = self.tasks.delete(ids)
        for task in gone:
            self._storage.drop(task.output)
            self._books.write(task)
        return len(gone)

    def _on_end(self, task: Task) -> None:
        if task.status is PredictionStatus.COMPLETED:
            self._storage.keep(task.output, self._clock())
        else:
            self.account.refund(task.price)
            task.refunded = True
        self._books.write(task)
        self._deliveries.spawn(self._webhooks.send(task))

    async def stop(self) -> None:
        """Leave all work where it is and answer whoever waits for it."""
        await self._runner.stop()
        await self._deliveries.stop()

    async def close(self) -> None:
        """Stop, and let the connections go."""
        await self.stop()
        await self._client.aclose()

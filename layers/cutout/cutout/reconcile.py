"""Compare the input bucket, the ledger, the outputs and the vendor's history; change nothing.

What is found is logged, a line each, and counted; a state machine keeps the counts.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from cutout.aws.listing import Listing
from cutout.aws.s3 import Storage
from cutout.backfill import Missing
from cutout.domain.errors import UNUSABLE, PredictionNotFound
from cutout.domain.messages import Cursor, Finding, FindingKind, PageAnswer, PageRequest, Pages
from cutout.domain.tasks import Status, Task
from cutout.observability import count_findings, logger
from cutout.settings import ReconcileSettings
from cutout.store.ledger import Ledger
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.contract import PredictionStatus

_AT_ONCE = 10  # calls to S3, as many as a client has connections
_QUESTIONS = 50  # to the vendor, on a page
_REMEMBERED = timedelta(days=7)  # how far the vendor's history reaches back
_WINDOW = timedelta(hours=1)  # of the history, on a page
_ON_ITS_WAY = timedelta(minutes=15)  # a submit may not have written its prediction down yet
Looked = tuple[int, list[Finding], Cursor | None]  # at how many things, what was found, where next


@dataclass(frozen=True)
class Reconciler:
    """Everything that a reconciliation needs; `clock` gives the time in UTC."""

    settings: ReconcileSettings
    listing: Listing
    missing: Missing
    storage: Storage
    ledger: Ledger
    wavespeed: WaveSpeed
    clock: Callable[[], datetime]

    def page(self, request: PageRequest) -> PageAnswer:
        """Look at one page. Raises `ServiceError`, `VendorUnavailable` or a `NotNow`."""
        looks = {
            Pages.UPLOADS: self._uploads,
            Pages.OUTPUTS: self._outputs,
            Pages.FAILED: self._failed,
            Pages.HISTORY: self._history,
        }
        looked, findings, cursor = looks[request.cursor.pages](request.cursor, request.page_size)
        counts = Counter(finding.kind.value for finding in findings)
        for finding in findings:
            told = finding.model_dump(mode="json")
            logger.warning("something does not agree", finding=told, run=request.run)
        for kind, findings_of_it in counts.items():
            count_findings(kind, findings_of_it)
        return PageAnswer(counts={request.cursor.pages.value: looked, **counts}, cursor=cursor)

    def _uploads(self, cursor: Cursor, size: int) -> Looked:
        """Uploads without a task, and completed ones without their PNG."""
        listed, following = self.listing.page(cursor, size)
        missing = self.missing.of(listed, listed_now=True)
        findings = [
            Finding(kind=FindingKind.MISSING, key=upload.key, task_id=upload.task_id)
            for upload, _ in missing
        ]
        tasks = self.ledger.of_uploads([upload for upload, _ in listed])
        done = [task for task in tasks if task.status is Status.COMPLETED]
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            pngs = threads.map(lambda t: self.storage.png(t.output_bucket, t.output_key), done)
            lost = [task for task, png in zip(done, pngs, strict=True) if png is None]
        findings += [_about(task, FindingKind.OUTPUT_MISSING) for task in lost]
        return len(listed), findings, following

    def _outputs(self, cursor: Cursor, size: int) -> Looked:
        """PNGs of ours whose upload is gone."""
        keys, following = self.listing.outputs(self.settings.output_bucket, cursor, size)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            left = list(threads.map(self._left, keys))
        return len(keys), [finding for finding in left if finding], following

    def _left(self, output_key: str) -> Finding | None:
        png = self.storage.png(self.settings.output_bucket, output_key)
        if png is None or png.task_id is None or png.source_key is None:
            return None  # somebody else's, or made of an upload with long metadata
        if self.storage.current(self.settings.input_bucket, png.source_key):
            return None
        return Finding(
            kind=FindingKind.OUTPUT_LEFT,
            key=png.source_key,
            task_id=png.task_id,
            output_key=output_key,
        )

    def _failed(self, cursor: Cursor, size: int) -> Looked:
        """Failed tasks whose result the vendor has."""
        questions = min(size, _QUESTIONS)
        due = self.ledger.due(Status.FAILED, self.clock())
        page = list(islice(due, cursor.line, cursor.line + questions))
        tasks = [task for one in page if (task := self.ledger.find(one.task_id))]
        findings = [
            _about(task, FindingKind.UNUSABLE if task.code in UNUSABLE else FindingKind.NOT_FETCHED)
            for task in tasks
            if task.key.startswith(cursor.prefix) and self._has_result(task)
        ]
        following = cursor.model_copy(update={"line": cursor.line + questions})
        return len(page), findings, following if len(page) == questions else None

    def _has_result(self, task: Task) -> bool:
        if task.status is not Status.FAILED or not task.prediction_id:
            return False
        try:
            return self.wavespeed.result(task.prediction_id).status is PredictionStatus.COMPLETED
        except PredictionNotFound:
            return False

    def _history(self, cursor: Cursor, _size: int) -> Looked:
        """Results that the vendor has and no task knows; others may use a key that is shared."""
        if not self.settings.key_is_dedicated:
            return 0, [], None
        end = self.clock() - _ON_ITS_WAY
        after = datetime.fromisoformat(cursor.after_key) if cursor.after_key else end - _REMEMBERED
        before = min(after + _WINDOW, end)
        done = list(self._completed(after, before))
        findings = [
            Finding(kind=FindingKind.UNCLAIMED, prediction_id=prediction_id)
            for prediction_id in self.ledger.unclaimed(done)
        ]
        following = cursor.model_copy(update={"after_key": before.isoformat()})
        return len(done), findings, following if before < end else None

    def _completed(self, after: datetime, before: datetime) -> Iterator[str]:
        for model in {self.settings.model_id, *self.settings.allowed_models}:
            for prediction in self.wavespeed.history(model, after, before):
                if prediction.status is PredictionStatus.COMPLETED:
                    yield prediction.id


def _about(task: Task, kind: FindingKind) -> Finding:
    return Finding(
        kind=kind,
        key=task.key,
        task_id=task.task_id,
        code=task.code,
        output_key=task.output_key,
        prediction_id=task.prediction_id,
    )

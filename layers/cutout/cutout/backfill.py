"""Find what is in the input bucket and not in the ledger, and send it as its event would have been.

A task's identity is that of the object's revision, so it changes nothing to send one twice, or one
whose event comes after all.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cutout.aws.listing import Listing
from cutout.aws.s3 import Storage
from cutout.aws.sqs import UploadQueue
from cutout.domain import naming
from cutout.domain.messages import PageAnswer, PageRequest
from cutout.domain.uploads import ListedUpload
from cutout.observability import logger
from cutout.settings import BucketSettings
from cutout.store.ledger import Ledger

_AT_ONCE = 10  # calls to S3, as many as a client has connections


@dataclass(frozen=True)
class Missing:
    """What of a page is in no ledger and in no output bucket."""

    settings: BucketSettings
    storage: Storage
    ledger: Ledger

    def of(self, listed: Iterable[ListedUpload], *, listed_now: bool) -> list[ListedUpload]:
        """Those of the uploads that nobody has taken up.

        The ledger forgets, and another may have been here before: what has its PNG is none of them.
        What an older list says is asked of S3 anew.
        """
        prefix = self.settings.input_prefix
        left = self._unknown([one for one in listed if one.upload.key.startswith(prefix)])
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            if not listed_now:
                left = self._unknown([one for one in threads.map(self._current, left) if one])
            has_png = list(threads.map(self._has_png, left))
        return [one for one, has in zip(left, has_png, strict=True) if not has]

    def _unknown(self, listed: list[ListedUpload]) -> list[ListedUpload]:
        missing = {upload.task_id for upload in self.ledger.missing([u for u, _ in listed])}
        return [one for one in listed if one.upload.task_id in missing]

    def _current(self, listed: ListedUpload) -> ListedUpload | None:
        upload = self.storage.current(listed.upload.bucket, listed.upload.key)
        return listed._replace(upload=upload) if upload else None

    def _has_png(self, listed: ListedUpload) -> bool:
        settings, upload = self.settings, listed.upload
        key = naming.output_key(upload.key, settings.output_naming, settings.output_prefix)
        png = self.storage.png(settings.output_bucket, key)
        return png is not None and png.is_of(upload, listed.made_at)


@dataclass(frozen=True)
class Backfill:
    """Everything that a backfill needs."""

    listing: Listing
    missing: Missing
    queue: UploadQueue

    def page(self, request: PageRequest) -> PageAnswer:
        """Look at one page, and send what is missing unless it is a dry run.

        Raises `ServiceError` or `InventoryUnreadable`.
        """
        listed, cursor = self.listing.page(request.cursor, request.page_size)
        missing = self.missing.of(listed, listed_now=not request.cursor.manifest)
        if not request.dry_run:
            self.queue.send_uploads(upload for upload, _ in missing)
        counts = {"objects": len(listed), "missing": len(missing)}
        logger.info("a page was looked at", counts=counts, dry_run=request.dry_run)
        return PageAnswer(counts=counts, cursor=cursor)

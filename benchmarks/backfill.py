"""A hundred thousand objects, half of them in the ledger: what it takes to find the others.

    python -m benchmarks.backfill [--objects 100000]

Listing, ledger and queue are in memory, and a call takes as long as `--milliseconds` says; the code
and the pages are the real ones. Run twice: what the first run sent is in the ledger then, as the
submit function would have it, so that the second one must send nothing.
Wanted: each missing object once, and cursors far below the 256 KB of a state.
"""

import argparse
import resource
import sys
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table as Printed

from cutout.aws.listing import Listing
from cutout.aws.s3 import Storage
from cutout.aws.sqs import UploadQueue
from cutout.backfill import Backfill, Missing
from cutout.domain.messages import Cursor, ObjectCreated, PageRequest, upload_message
from cutout.domain.naming import OutputNaming
from cutout.domain.uploads import Upload
from cutout.settings import BackfillSettings
from cutout.store.ledger import Ledger
from cutout.store.table import Table

PAGE = 1000
MOST_STATE_BYTES = 4096
SETTINGS = BackfillSettings(
    tasks_table="tasks",
    upload_queue_url="queue",
    input_bucket="in",
    input_prefix="",
    output_bucket="out",
    output_prefix="",
    output_naming=OutputNaming.APPEND,
)


class Account:
    """S3, DynamoDB and SQS, as far as a page calls them."""

    exceptions = SimpleNamespace(ConditionalCheckFailedException=ClientError)

    def __init__(self, objects: int, seconds: float) -> None:
        self.keys = [f"album/{number:09}.jpg" for number in range(objects)]
        self.tasks = {upload(key).task_id for key in self.keys[::2]}
        self.sent: list[str] = []
        self.calls = 0
        self._seconds = seconds

    def list_object_versions(self, **asked: Any) -> dict[str, Any]:
        self._call()
        first = self.keys.index(asked["KeyMarker"]) + 1 if "KeyMarker" in asked else 0
        keys = self.keys[first : first + asked["MaxKeys"]]
        more = first + len(keys) < len(self.keys)
        markers = {"NextKeyMarker": keys[-1], "NextVersionIdMarker": "v"} if more else {}
        return {"Versions": [version(key) for key in keys], "IsTruncated": more, **markers}

    def batch_get_item(self, **asked: Any) -> dict[str, Any]:
        self._call()
        wanted = [key["task_id"]["S"] for key in asked["RequestItems"]["tasks"]["Keys"]]
        found = [{"task_id": {"S": task}} for task in wanted if task in self.tasks]
        return {"Responses": {"tasks": found}}

    def head_object(self, **_asked: Any) -> None:
        self._call()
        raise ClientError({"Error": {"Code": "404"}}, "HeadObject")

    def send_message_batch(self, **asked: Any) -> dict[str, Any]:
        self._call()
        for entry in asked["Entries"]:
            message = upload_message(entry["MessageBody"])
            assert isinstance(message, ObjectCreated)
            self.sent.append(message.upload.task_id)
        return {}

    def _call(self) -> None:
        self.calls += 1
        time.sleep(self._seconds)


def upload(key: str) -> Upload:
    return Upload(bucket="in", key=key, version_id="v", etag="e", size=1)


def version(key: str) -> dict[str, Any]:
    made = {"VersionId": "v", "IsLatest": True, "ETag": '"e"', "Size": 1}
    return {"Key": key, "LastModified": datetime.now(UTC), **made}


def run(account: Account) -> tuple[int, int, int, float]:
    """Pages, what was missing, the longest cursor in bytes, and seconds of a run."""
    client: Any = account
    missing = Missing(SETTINGS, Storage(client), Ledger(Table(client, "tasks")))
    backfill = Backfill(Listing(client, "in"), missing, UploadQueue(client, "queue"))
    pages = found = longest = 0
    cursor: Cursor | None = Cursor()
    started = time.monotonic()
    while cursor:
        answer = backfill.page(PageRequest(cursor=cursor, page_size=PAGE))
        pages, found, cursor = pages + 1, found + answer.counts["missing"], answer.cursor
        longest = max(longest, len(answer.model_dump_json()))
    return pages, found, longest, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--milliseconds", type=float, default=0, help="that a call takes")
    options = parser.parse_args()
    account = Account(options.objects, options.milliseconds / 1000)
    columns = ("run", "pages", "missing", "sent", "calls", "seconds", "a state's bytes")
    table = Printed(*columns, box=None)
    wanted = True
    for name, missing in (("first", options.objects // 2), ("second", 0)):
        account.sent, account.calls = [], 0
        pages, found, longest, seconds = run(account)
        numbers = (pages, found, len(account.sent), account.calls, f"{seconds:.1f}", longest)
        table.add_row(name, *map(str, numbers))
        wanted &= found == missing == len(set(account.sent)) and longest < MOST_STATE_BYTES
        account.tasks.update(account.sent)
    Console().print(table)
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")
    sys.exit(not wanted)


if __name__ == "__main__":
    main()

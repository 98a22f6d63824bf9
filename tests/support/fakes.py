"""AWS and the vendor as plain objects, for tests that run the pipeline thousands of times.

The clients stand where boto3's would, one call deep, so that all of this project's code is the real
one. Expressions are evaluated by moto's DynamoDB. A function can be killed before any of its calls,
and something else can happen between any two of them.
"""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from moto.dynamodb.exceptions import ConditionalCheckFailed
from moto.dynamodb.models import DynamoDBBackend

from cutout.domain.uploads import Upload
from tests.support.harness import NOW, TABLE

Item = dict[str, Any]
Address = tuple[str, str, str | None]  # bucket, key and version


class Killed(BaseException):
    """The function is gone; no code of its own runs any more."""


@dataclass
class Run:
    """One run of a function: dead before call `kill_at`, and an interlude before call `pause_at`.

    Calls count from 0. A killed function cannot tidy up: all further calls fail as well.
    """

    kill_at: int | None = None
    pause_at: int | None = None
    interlude: Callable[[], None] | None = None
    calls: int = 0

    def spend(self) -> None:
        """Called before every call out of the function."""
        if self.kill_at is not None and self.calls >= self.kill_at:
            raise Killed
        self.calls += 1
        if self.interlude and self.calls > (self.pause_at or 0):
            interlude, self.interlude = self.interlude, None
            interlude()


class Functions:
    """Which function is running now; the innermost, where one runs in the interlude of another."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    @contextmanager
    def running(self, run: Run) -> Iterator[None]:
        self._runs.append(run)
        try:
            yield
            run.spend()  # its answer may be lost, too
        finally:
            self._runs.pop()

    def die(self) -> None:
        """The running function gets no answer to the call it is in."""
        self._runs[-1].kill_at = 0

    def spend(self) -> None:
        if self._runs:
            self._runs[-1].spend()


def _error(name: str) -> type[ClientError]:
    def init(self: ClientError) -> None:
        ClientError.__init__(self, {"Error": {"Code": name, "Message": name}}, name)

    return type(name, (ClientError,), {"__init__": init})


class Errors:
    """The modelled exceptions of the clients."""

    ConditionalCheckFailedException = _error("ConditionalCheckFailedException")
    ExecutionAlreadyExists = _error("ExecutionAlreadyExists")
    ExecutionDoesNotExist = _error("ExecutionDoesNotExist")
    TaskTimedOut = _error("TaskTimedOut")
    TaskDoesNotExist = _error("TaskDoesNotExist")
    InvalidToken = _error("InvalidToken")
    NoSuchKey = _error("NoSuchKey")
    NotFound = _error("404")
    PreconditionFailed = _error("PreconditionFailed")


class DynamoDB:
    """One table; `changed` is told every item before and after a write."""

    exceptions = Errors

    def __init__(self, functions: Functions, changed: Callable[[Item, Item], None]) -> None:
        self._functions = functions
        self._changed = changed
        self._backend = DynamoDBBackend("eu-central-1", "123456789012")
        self._backend.create_table(
            TABLE,
            schema=[{"AttributeName": "task_id", "KeyType": "HASH"}],
            throughput=None,
            attr=[{"AttributeName": "task_id", "AttributeType": "S"}],
            global_indexes=None,
            indexes=None,
            streams=None,
            billing_mode="PAY_PER_REQUEST",
            sse_specification=None,
            tags=[],
            deletion_protection_enabled=None,
            warm_throughput=None,
        )

    def get_item(self, **asked: Any) -> Item:
        assert asked["ConsistentRead"]
        self._functions.spend()
        item = self._read(asked["Key"])
        return {"Item": item} if item else {}

    def batch_get_item(self, **asked: Any) -> Item:
        self._functions.spend()
        wanted = asked["RequestItems"][TABLE]
        assert wanted["ConsistentRead"]
        return {"Responses": {TABLE: [i for key in wanted["Keys"] if (i := self._read(key))]}}

    def query(self, **asked: Any) -> Item:
        """The index `by-status`: what is due of a status."""
        assert asked["IndexName"] == "by-status"
        self._functions.spend()
        status, until = (asked["ExpressionAttributeValues"][n]["S"] for n in (":key", ":until"))
        table = self._backend.get_table(TABLE)
        items = [dict(item.to_json()["Attributes"]) for item in table.all_items()]
        due = [i for i in items if i.get("open_status", {}).get("S") == status]
        due = [item for item in due if item["due_at"]["S"] <= until]
        return {"Items": sorted(due, key=lambda item: str(item["due_at"]["S"]))}

    def put_item(self, **asked: Any) -> None:
        self._functions.spend()
        with _conditions():
            self._backend.put_item(
                TABLE, asked["Item"], condition_expression=asked["ConditionExpression"]
            )
        self._changed({}, asked["Item"])

    def transact_write_items(self, **asked: Any) -> None:
        """Puts of what must not be there yet."""
        self._functions.spend()
        puts = [write["Put"] for write in asked["TransactItems"]]
        assert {put["ConditionExpression"] for put in puts} == {"attribute_not_exists(task_id)"}
        there = [bool(self._read({"task_id": put["Item"]["task_id"]})) for put in puts]
        if any(there):
            codes = ["ConditionalCheckFailed" if one else "None" for one in there]
            reasons: Any = {"CancellationReasons": [{"Code": code} for code in codes]}
            raise ClientError(reasons | {"Error": {"Code": "TransactionCanceledException"}}, "")
        for put in puts:
            self._backend.put_item(TABLE, put["Item"])
            self._changed({}, put["Item"])

    def update_item(self, **asked: Any) -> Item:
        self._functions.spend()
        before = self._read(asked["Key"])
        with _conditions():
            self._backend.update_item(
                TABLE,
                asked["Key"],
                update_expression=asked["UpdateExpression"],
                expression_attribute_names=asked.get("ExpressionAttributeNames", {}),
                expression_attribute_values=asked["ExpressionAttributeValues"],
                condition_expression=asked.get("ConditionExpression"),
            )
        after = self._read(asked["Key"])
        self._changed(before, after)
        return {"Attributes": after}

    def _read(self, key: Item) -> Item:
        item = self._backend.get_item(TABLE, key)
        return dict(item.to_json()["Attributes"]) if item else {}


@contextmanager
def _conditions() -> Iterator[None]:
    try:
        yield
    except ConditionalCheckFailed as error:
        raise Errors.ConditionalCheckFailedException from error


class S3:
    """Uploads with or without versions, and outputs, whose ETag is that of their maker.

    The newest version of an upload is the current one; once it is deleted, there is none. `saved`
    is told the key, the bytes and the metadata of each output.
    """

    def __init__(
        self,
        functions: Functions,
        clock: Callable[[], datetime],
        saved: Callable[[str, bytes, dict[str, str]], None],
    ) -> None:
        self._functions = functions
        self._clock = clock
        self._saved = saved
        self.versions: dict[Address, bytes] = {}
        self.metadata: dict[Address, dict[str, str]] = {}
        self._etags: dict[Address, str] = {}
        self._made_at: dict[Address, datetime] = {}
        self._current: dict[tuple[str, str], str | None] = {}

    def upload(self, upload: Upload, body: bytes) -> None:
        """A person puts an object."""
        address = upload.bucket, upload.key, upload.version_id
        self._put(address, body, upload.etag)
        self._current[upload.bucket, upload.key] = upload.version_id

    def delete(self, upload: Upload) -> None:
        """A person deletes an object, if it is there still."""
        if self.has(upload):
            del self.versions[upload.bucket, upload.key, upload.version_id]

    def has(self, upload: Upload) -> bool:
        """Whether the very bytes are there."""
        address = upload.bucket, upload.key, upload.version_id
        return address in self.versions and self._etags[address] == upload.etag

    def is_current(self, upload: Upload) -> bool:
        """Whether they are what a listing tells of."""
        return self.has(upload) and self._current[upload.bucket, upload.key] == upload.version_id

    def head_object(self, **asked: Any) -> Item:
        self._functions.spend()
        body = self._find(asked, Errors.NotFound)
        address = self._address(asked)
        return {
            "Metadata": self.metadata.get(address, {}),
            "ETag": f'"{self._etags[address]}"',
            "ContentLength": len(body),
            "ContentType": "image/jpeg",
            "LastModified": self._made_at[address],
        } | ({"VersionId": address[2]} if address[2] else {})

    def list_object_versions(self, **asked: Any) -> Item:
        self._functions.spend()
        versions = [
            {
                "Key": key,
                "VersionId": version or "null",
                "IsLatest": self._current[bucket, key] == version,
                "ETag": f'"{self._etags[bucket, key, version]}"',
                "Size": len(body),
                "LastModified": self._made_at[bucket, key, version],
            }
            for (bucket, key, version), body in self.versions.items()
            if bucket == asked["Bucket"]
        ]
        return {"Versions": versions, "IsTruncated": False}

    def put_object(self, **asked: Any) -> Item:
        self._functions.spend()
        self._put(self._address(asked), asked["Body"], "")
        return {"ETag": ""}

    def delete_object(self, **asked: Any) -> None:
        self._functions.spend()
        self.versions.pop(self._address(asked), None)

    def get_object(self, **asked: Any) -> Item:
        self._functions.spend()
        body = self._find(asked)
        if asked["IfMatch"] != self._etags[self._address(asked)]:
            raise Errors.PreconditionFailed
        if "Range" in asked:
            start, end = asked["Range"].removeprefix("bytes=").split("-")
            body = body[int(start) : int(end) + 1]
        return {"Body": StreamingBody(io.BytesIO(body), len(body))}

    def get_object_tagging(self, **asked: Any) -> Item:
        self._functions.spend()
        self._find(asked)
        return {"TagSet": []}

    def generate_presigned_url(self, _operation: str, **asked: Any) -> str:
        lent = asked["Params"]
        return f"https://{lent['Bucket']}.s3.test/{lent['Key']}?{lent.get('VersionId', '')}"

    def upload_fileobj(
        self, file: io.BufferedReader, bucket: str, key: str, **options: Any
    ) -> None:
        body = b""
        while block := file.read(1024):
            self._functions.spend()  # a part
            body += block
        self._functions.spend()  # nothing is there before the upload is completed
        metadata = options["ExtraArgs"]["Metadata"]
        self._saved(key, body, metadata)
        self._put((bucket, key, None), body, metadata["cutout-task-id"])
        self.metadata[bucket, key, None] = metadata

    def _put(self, address: Address, body: bytes, etag: str) -> None:
        self.versions[address] = body
        self._etags[address] = etag
        self._made_at[address] = self._clock()

    def _find(self, asked: Item, missing: type[ClientError] = Errors.NoSuchKey) -> bytes:
        try:
            return self.versions[self._address(asked)]
        except KeyError as error:
            raise missing from error

    def _address(self, asked: Item) -> Address:
        bucket, key = asked["Bucket"], asked["Key"]
        return bucket, key, asked.get("VersionId") or self._current.get((bucket, key))


@dataclass
class Execution:
    """One run of the wait loop; `status` as Step Functions has it."""

    name: str
    input: Item
    status: str = "RUNNING"
    state: str = "What now?"
    token: str | None = None
    error: str = ""
    cause: str = ""
    until: datetime = NOW
    failures: dict[str, int] = field(default_factory=dict)


@dataclass
class States:
    """Executions by name; names are never used twice."""

    functions: Functions
    executions: dict[str, Execution] = field(default_factory=dict)
    exceptions: type[Errors] = Errors

    def start_execution(self, **asked: Any) -> None:
        self.functions.spend()
        if (name := asked["name"]) in self.executions:
            raise Errors.ExecutionAlreadyExists
        self.executions[name] = Execution(name, json.loads(asked["input"]))

    def describe_execution(self, **asked: Any) -> Item:
        self.functions.spend()
        name = asked["executionArn"].rpartition(":")[2]
        if name not in self.executions:
            raise Errors.ExecutionDoesNotExist
        found = self.executions[name]
        ended = {"error": found.error, "cause": found.cause} if found.status == "FAILED" else {}
        return {"name": name, "status": found.status, **ended}

    def send_task_success(self, **asked: Any) -> None:
        self.functions.spend()
        for execution in self.executions.values():
            if execution.token == asked["taskToken"] and execution.status == "RUNNING":
                execution.token, execution.state = None, "Poll"
                return
        raise Errors.TaskTimedOut


@dataclass
class Events:
    """The bus: the details of what was published on it."""

    functions: Functions
    published: list[Item] = field(default_factory=list)

    def put_events(self, **asked: Any) -> Item:
        self.functions.spend()
        self.published += [json.loads(entry["Detail"]) for entry in asked["Entries"]]
        return {"FailedEntryCount": 0}


@dataclass
class SQS:
    """One queue; `sent` is told each message's body and its delay in seconds."""

    functions: Functions
    sent: Callable[[str, int], None]

    def send_message_batch(self, **asked: Any) -> Item:
        self.functions.spend()
        assert 0 < len(asked["Entries"]) <= 10
        for entry in asked["Entries"]:
            assert 0 <= entry.get("DelaySeconds", 0) <= 900
            self.sent(entry["MessageBody"], entry.get("DelaySeconds", 0))
        return {}

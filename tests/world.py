"""The pipeline's real code around moto and a scripted vendor, without a socket."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
from samtranslator.yaml_helper import yaml_parse

from cutout.announcements import Announcements
from cutout.ledger import Ledger
from cutout.polling import Polling
from cutout.settings import PollSettings, SubmitSettings
from cutout.storage import Storage
from cutout.submission import Submission
from cutout.tasks import Task
from cutout.uploads import Upload
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.outputs import Outputs
from cutout.workflow import Workflow

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BASE_URL = "https://vendor.test"
TABLE = "tasks"
MODEL = "wavespeed-ai/image-background-remover"
COMMON = {"wavespeed_base_url": BASE_URL, "model_id": MODEL, "api_key_secret": "key"}


class World:
    """Two buckets, the ledger, the bus, the state machine, and a clock that stands still.

    `answers` are what the vendor answers one request after the other: responses, or errors to
    raise. `requests` are what it was asked.
    """

    def __init__(self, session: boto3.Session) -> None:
        self.now = NOW
        self.answers: list[httpx.Response | BaseException] = []
        self.requests: list[httpx.Request] = []
        self.s3 = session.client("s3")
        self.dynamodb = session.client("dynamodb")
        self.states = session.client("stepfunctions")
        self.events = session.client("events")
        self.sqs = session.client("sqs")
        here: Any = {"LocationConstraint": self.s3.meta.region_name}
        for bucket in ("uploads", "cutouts"):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=here)
        self.s3.put_bucket_versioning(
            Bucket="uploads", VersioningConfiguration={"Status": "Enabled"}
        )
        self.create_table()
        self.machine = self._create_machine()
        self.announced_url = self._listen_to_bus()
        self.ledger = Ledger(self.dynamodb, TABLE)
        self.storage = Storage(self.s3)

    def create_table(self) -> None:
        """The template's own table."""
        properties = yaml_parse(TEMPLATE.read_text())["Resources"]["TasksTable"]["Properties"]
        used = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
        self.dynamodb.create_table(TableName=TABLE, **{name: properties[name] for name in used})

    def upload(self, body: bytes, key: str = "a/cat.jpg") -> Upload:
        """Put an object into the input bucket; what its event would say."""
        answer = self.s3.put_object(Bucket="uploads", Key=key, Body=body)
        return Upload(
            bucket="uploads",
            key=key,
            version_id=answer["VersionId"],
            etag=answer["ETag"].strip('"'),
            size=len(body),
        )

    def submission(self, **settings: Any) -> Submission:
        values = {
            "tasks_table": TABLE,
            "state_machine_arn": self.machine,
            "upload_queue_url": "unused",
            "event_bus": "default",
            "output_bucket": "cutouts",
            "output_prefix": "",
            "output_naming": "append",
            "max_upload_megabytes": 1,
            "max_megapixels": 1,
            "presign_seconds": 60,
            "task_retention_days": 30,
            "lease_seconds": 180,
        }
        return Submission(
            settings=SubmitSettings.model_validate(COMMON | values | settings),
            ledger=self.ledger,
            storage=self.storage,
            wavespeed=self._wavespeed(),
            workflow=Workflow(self.states, self.machine),
            announcements=Announcements(self.events, "default"),
            clock=lambda: self.now,
        )

    def polling(self, **settings: Any) -> Polling:
        values = {"tasks_table": TABLE, "deadline_seconds": 600, "max_output_megabytes": 10}
        return Polling(
            settings=PollSettings.model_validate(COMMON | values | settings),
            ledger=self.ledger,
            storage=self.storage,
            wavespeed=self._wavespeed(),
            outputs=Outputs(BASE_URL, transport=httpx.MockTransport(self._answer)),
            clock=lambda: self.now,
        )

    def task(self, upload: Upload) -> Task:
        return self.ledger.get(upload.task_id)

    def executions(self) -> list[str]:
        """The names of all executions that were started."""
        listed = self.states.list_executions(stateMachineArn=self.machine)["executions"]
        return [execution["name"] for execution in listed]

    def announced(self) -> list[dict[str, Any]]:
        """The events on the bus since the last look."""
        answer = self.sqs.receive_message(QueueUrl=self.announced_url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _wavespeed(self) -> WaveSpeed:
        return WaveSpeed(
            BASE_URL,
            MODEL,
            api_key=lambda: "the-key",
            transport=httpx.MockTransport(self._answer),
            pause=lambda _seconds: None,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _create_machine(self) -> str:
        return self.states.create_state_machine(
            name="cutout",
            definition=json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}),
            roleArn="arn:aws:iam::123456789012:role/machine",
        )["stateMachineArn"]

    def _listen_to_bus(self) -> str:
        url = self.sqs.create_queue(QueueName="announced")["QueueUrl"]
        arn = f"arn:aws:sqs:{self.sqs.meta.region_name}:123456789012:announced"
        self.events.put_rule(Name="all", EventPattern=json.dumps({"source": ["cutout"]}))
        self.events.put_targets(Rule="all", Targets=[{"Id": "announced", "Arn": arn}])
        return url


def accepted(prediction_id: str = "p1", status: str = "created") -> httpx.Response:
    """The vendor's answer to a submit."""
    return answer(id=prediction_id, model=MODEL, status=status, outputs=[])


def answer(**prediction: Any) -> httpx.Response:
    """A prediction in the vendor's envelope."""
    return httpx.Response(200, json={"code": 200, "message": "success", "data": prediction})


def download(content: bytes) -> httpx.Response:
    """An output as it is streamed."""
    return httpx.Response(200, stream=httpx.ByteStream(content))


def refused(code: int, message: str = "") -> httpx.Response:
    """The vendor's refusal."""
    return httpx.Response(code, json={"code": code, "message": message})

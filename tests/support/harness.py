"""The pipeline's real code around moto and a scripted vendor, without a socket."""

import hashlib
import hmac
import io
import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx

from cutout.aws.convert_function import ConvertFunction
from cutout.aws.converted import ConvertedImages
from cutout.aws.events import EventBus
from cutout.aws.s3 import Storage
from cutout.aws.sqs import UploadQueue
from cutout.aws.wait_loop import WaitLoop
from cutout.backstop import Backstop
from cutout.close import Closer
from cutout.convert import Converter
from cutout.domain.errors import ServiceError
from cutout.domain.messages import ConvertRequest
from cutout.domain.schedule import Schedule
from cutout.domain.tasks import Task
from cutout.domain.uploads import Upload
from cutout.measure import Meter
from cutout.poll import Poller
from cutout.retry import Retrier
from cutout.reuse import Reuse
from cutout.settings import ClockSettings, PollSettings, SubmitSettings
from cutout.settle import Settler
from cutout.store.contents import Contents
from cutout.store.governor import Governor
from cutout.store.latencies import Latencies
from cutout.store.ledger import Ledger
from cutout.store.output_locks import OutputLocks
from cutout.store.table import Table
from cutout.submit import Submitter
from cutout.wake import Waker
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.outputs import Outputs
from cutout.wavespeed.prices import Prices
from cutout.webhook import SigningSecret, WebhookReceiver
from tests.support.template import resources

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BASE_URL = "https://vendor.test"
WEBHOOK_URL = "https://webhook.test/"
WEBHOOK_SECRET = "whsec_0123456789abcdef"
TABLE = "tasks"
CONVERTED = "converted"
MODEL = "wavespeed-ai/image-background-remover"
LEASE_SECONDS = 180
COMMON = {"wavespeed_base_url": BASE_URL, "api_key_secret": "key", "tasks_table": TABLE}


Reply = httpx.Response | BaseException
Answer = Reply | Callable[[httpx.Request], Reply]


def lambda_client(functions: dict[str, Callable[[bytes], bytes]]) -> Any:
    """Lambda with these functions; what one raises is told as Lambda's runtime does."""

    def invoke(**asked: Any) -> dict[str, Any]:
        try:
            answer = functions[asked["FunctionName"]](asked["Payload"])
        except (ServiceError, MemoryError) as error:
            failed = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {
                "FunctionError": "Unhandled",
                "Payload": io.BytesIO(json.dumps(failed).encode()),
            }
        return {"Payload": io.BytesIO(answer)}

    return SimpleNamespace(invoke=invoke)


class Pipeline:
    """The pipeline's real code between these clients, and a clock that stands still.

    A subclass answers for the vendor.
    """

    def __init__(
        self,
        *,
        s3: Any,
        dynamodb: Any,
        states: Any,
        events: Any,
        sqs: Any,
        queue_url: str,
        machine: str,
    ) -> None:
        self.now = NOW
        self.s3 = s3
        self.dynamodb = dynamodb
        self.states = states
        self.events = events
        self.machine = machine
        self.table = Table(dynamodb, TABLE)
        self.ledger = Ledger(self.table)
        self.storage = Storage(s3)
        self.upload_queue = UploadQueue(sqs, queue_url)

    def submitter(self, **settings: Any) -> Submitter:
        values = {
            "state_machine_arn": self.machine,
            "upload_queue_url": "unused",
            "event_bus": "default",
            "output_bucket": "cutouts",
            "output_prefix": "",
            "output_naming": "append",
            "model_id": MODEL,
            "allowed_models": "",
            "sync_mode": False,
            "base64_output": False,
            "webhook_url": "",
            "webhook_fallback_seconds": 60,
            "reuse_results": False,
            "on_uncertain": "hold",
            "uncertain_grace_seconds": 600,
            "key_is_dedicated": False,
            "max_upload_megabytes": 1,
            "max_megapixels": 1,
            "presign_seconds": 60,
            "task_retention_days": 30,
            "lease_seconds": LEASE_SECONDS,
            "images_per_minute": 0,
            "daily_budget": "0",
            "price_per_image": "0.01",
            "convert_function": "convert",
        }
        env = SubmitSettings.model_validate(COMMON | values | settings)
        wavespeed = self._wavespeed()
        prices = Prices(wavespeed, env.price_per_image, self._clock)
        return Submitter(
            settings=env,
            ledger=self.ledger,
            governor=Governor(self.table, env.images_per_minute, env.daily_budget),
            price=prices.of,
            schedule=self._schedule(env.webhook_fallback_seconds),
            storage=self.storage,
            wavespeed=wavespeed,
            queue=self.upload_queue,
            wait_loop=WaitLoop(self.states, self.machine),
            closer=self.closer(),
            settler=Settler(self.ledger, wavespeed, env.key_is_dedicated),
            reuse=Reuse(self.ledger, Contents(self.table)),
            convert_function=ConvertFunction(
                lambda_client({env.convert_function: self.convert}), env.convert_function
            ),
            clock=self._clock,
        )

    def convert(self, payload: bytes) -> bytes:
        """One run of the convert function."""
        converter = Converter(self.storage, ConvertedImages(self.s3, CONVERTED), max_megapixels=1)
        answer = converter.convert(ConvertRequest.model_validate_json(payload))
        return answer.model_dump_json().encode()

    def retrier(self, **settings: Any) -> Retrier:
        submitter = self.submitter(**settings)
        return Retrier(submitter, self.ledger, self.backstop(), self._clock)

    def _clock_settings(self, **settings: Any) -> ClockSettings:
        values = {
            "upload_queue_url": "unused",
            "state_machine_arn": self.machine,
            "event_bus": "default",
            "lease_seconds": LEASE_SECONDS,
            "deadline_seconds": 600,
            "images_per_minute": 0,
            "daily_budget": "0",
            "model_id": MODEL,
            "low_balance": "0",
        }
        return ClockSettings.model_validate(COMMON | values | settings)

    def meter(self, **settings: Any) -> Meter:
        env = self._clock_settings(**settings)
        return Meter(env, self.ledger, self._wavespeed(), self._clock)

    def waker(self, **settings: Any) -> Waker:
        env = self._clock_settings(**settings)
        return Waker(
            settings=env,
            ledger=self.ledger,
            governor=Governor(self.table, env.images_per_minute, env.daily_budget),
            queue=self.upload_queue,
            wait_loop=WaitLoop(self.states, self.machine),
            backstop=self.backstop(),
            clock=self._clock,
        )

    def tick(self, **settings: Any) -> dict[str, int]:
        """One run of the clock function, which is given half a minute."""
        return dict(self.waker(**settings).wake(self.now + timedelta(seconds=30)))

    def poller(self, **settings: Any) -> Poller:
        values = {
            "deadline_seconds": 600,
            "webhook_fallback_seconds": 60,
            "lock_seconds": 330,
            "reuse_results": False,
            "erase_at_vendor": False,
            "converted_bucket": CONVERTED,
            "event_bus": "default",
            "max_output_megabytes": 10,
            "max_megapixels": 1,
            "opaque_cutout": "save",
        }
        env = PollSettings.model_validate(COMMON | values | settings)
        return Poller(
            settings=env,
            ledger=self.ledger,
            locks=OutputLocks(self.table, self.storage.is_current),
            latencies=Latencies(self.table),
            schedule=self._schedule(env.webhook_fallback_seconds),
            storage=self.storage,
            wavespeed=self._wavespeed(),
            outputs=Outputs(BASE_URL, transport=httpx.MockTransport(self._answer)),
            converted=ConvertedImages(self.s3, env.converted_bucket),
            events=EventBus(self.events, "default"),
            clock=self._clock,
        )

    def webhook_receiver(self) -> WebhookReceiver:
        return WebhookReceiver(
            secret=SigningSecret(self._wavespeed().webhook_secret, self._clock),
            ledger=self.ledger,
            wait_loop=WaitLoop(self.states, self.machine),
            clock=self._clock,
        )

    def backstop(self, bus: str = "default") -> Backstop:
        return Backstop(self.ledger, self.closer(bus))

    def closer(self, bus: str = "default") -> Closer:
        return Closer(self.ledger, EventBus(self.events, bus), self._clock)

    def task(self, upload: Upload) -> Task:
        return self.ledger.get(upload.task_id)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _clock(self) -> datetime:
        return self.now

    def _schedule(self, webhook_fallback_seconds: int) -> Schedule:
        return Schedule(Latencies(self.table).recent, webhook_fallback_seconds)

    def _wavespeed(self) -> WaveSpeed:
        return WaveSpeed(
            BASE_URL,
            api_key=lambda: "the-key",
            transport=httpx.MockTransport(self._answer),
            pause=lambda _seconds: None,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        raise NotImplementedError


class PipelineHarness(Pipeline):
    """Two buckets, the ledger, the bus and the state machine in memory.

    `answers` are what the vendor answers one request after the other: responses, errors to raise,
    or functions that make them. `requests` are what it was asked, `woken` the task tokens that
    were sent to Step Functions, `sent` the ids and delays of messages about tasks that are due.
    """

    def __init__(self, client: Callable[[str], Any]) -> None:
        """`client` makes the client of a service; other tests may have it too."""
        self._undo = ExitStack()
        self.answers: list[Answer] = []
        self.requests: list[httpx.Request] = []
        self.woken: list[str] = []
        states = client("stepfunctions")
        self.sqs: SQSClient = client("sqs")
        self.queue_url: str = self.sqs.create_queue(QueueName="uploads")["QueueUrl"]
        super().__init__(
            s3=client("s3"),
            dynamodb=client("dynamodb"),
            states=states,
            events=client("events"),
            sqs=self.sqs,
            queue_url=self.queue_url,
            machine=_create_machine(states),
        )
        self.sent: list[tuple[str, int]] = []
        self.on(
            self.sqs,
            "provide-client-params.sqs.SendMessageBatch",
            lambda params, **_: self._note(params),
        )
        self._create_buckets()
        self.create_table()
        self._published: list[dict[str, Any]] = []
        self.on(
            self.events,
            "provide-client-params.events.PutEvents",
            lambda params, **_: self._publish(params),
        )
        # moto's plain Step Functions take any token and tell nobody.
        self.on(
            self.states,
            "provide-client-params.sfn.SendTaskSuccess",
            lambda params, **_: self.woken.append(params["taskToken"]),
        )

    def on(self, client: Any, event: str, handler: Callable[..., object]) -> None:
        """Have a client's event handled, until this harness is closed."""
        client.meta.events.register(event, handler)
        self._undo.callback(client.meta.events.unregister, event, handler)

    def close(self) -> None:
        """Leave the clients as they were."""
        self._undo.close()

    def _create_buckets(self) -> None:
        here: Any = {"LocationConstraint": self.s3.meta.region_name}
        for bucket in ("uploads", "cutouts", CONVERTED):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=here)
        self.s3.put_bucket_versioning(
            Bucket="uploads", VersioningConfiguration={"Status": "Enabled"}
        )

    def create_table(self) -> None:
        """The template's own table."""
        properties = resources("AWS::DynamoDB::Table")["TasksTable"]
        used = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
        self.dynamodb.create_table(TableName=TABLE, **{name: properties[name] for name in used})

    def upload(self, body: bytes, key: str = "a/cat.jpg", **metadata: str) -> Upload:
        """Put an object into the input bucket; what its event would say.

        `metadata` is the user's; underscores in names stand for dashes.
        """
        named = {name.replace("_", "-"): value for name, value in metadata.items()}
        answer = self.s3.put_object(Bucket="uploads", Key=key, Body=body, Metadata=named)
        return Upload(
            bucket="uploads",
            key=key,
            version_id=answer["VersionId"],
            etag=answer["ETag"].strip('"'),
            size=len(body),
        )

    def executions(self) -> list[str]:
        """The names of all executions that were started."""
        listed = self.states.list_executions(stateMachineArn=self.machine)["executions"]
        return [execution["name"] for execution in listed]

    def first_input(self, task: Task) -> dict[str, Any]:
        """What the execution of the task's attempt was started with."""
        execution = self.states.describe_execution(executionArn=self.execution_arn(task))
        started: dict[str, Any] = json.loads(execution["input"])
        return started

    def execution_arn(self, task: Task) -> str:
        machine = self.machine.replace(":stateMachine:", ":execution:")
        return f"{machine}:{task.execution_name}"

    def published(self) -> list[dict[str, Any]]:
        """The events on the default bus since the last look."""
        published, self._published = self._published, []
        return published

    def _publish(self, params: dict[str, Any]) -> None:
        for entry in params["Entries"]:
            if entry["EventBusName"] == "default":
                told = {"source": entry["Source"], "detail-type": entry["DetailType"]}
                self._published.append(told | {"detail": json.loads(entry["Detail"])})

    def _note(self, params: dict[str, Any]) -> None:
        """A batch of messages that is sent to the upload queue."""
        for entry in params["Entries"]:
            detail = json.loads(entry["MessageBody"])["detail"]
            if "task_id" in detail:
                self.sent.append((detail["task_id"], entry["DelaySeconds"]))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if not isinstance(answer, httpx.Response | BaseException):
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        # A response is read once, and a test's parameters may be used again.
        return httpx.Response(answer.status_code, headers=answer.headers, stream=answer.stream)


def _create_machine(states: "SFNClient") -> str:
    return states.create_state_machine(
        name="cutout",
        definition=json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}),
        roleArn="arn:aws:iam::123456789012:role/machine",
    )["stateMachineArn"]


def accepted(prediction_id: str = "p1", status: str = "created") -> httpx.Response:
    """The vendor's answer to a submit."""
    return answer(id=prediction_id, model=MODEL, status=status, outputs=[])


def answer(**prediction: Any) -> httpx.Response:
    """A prediction in the vendor's envelope."""
    return httpx.Response(200, json={"code": 200, "message": "success", "data": prediction})


def completed(prediction_id: str = "p1") -> httpx.Response:
    """A prediction whose output is there."""
    return answer(id=prediction_id, status="completed", outputs=[f"{BASE_URL}/out.png"])


def download(content: bytes) -> httpx.Response:
    """An output as it is streamed."""
    return httpx.Response(200, stream=httpx.ByteStream(content))


def refused(code: int, message: str = "") -> httpx.Response:
    """The vendor's refusal."""
    return httpx.Response(code, json={"code": code, "message": message})


def secret_is(secret: str = WEBHOOK_SECRET) -> httpx.Response:
    """The vendor's answer to who asks for the secret that webhooks are signed with."""
    return httpx.Response(200, json={"code": 200, "message": "success", "data": {"secret": secret}})


def callback(prediction_id: str = "p1", status: str = "completed") -> bytes:
    """The body of a callback: the prediction without an envelope."""
    prediction = {"id": prediction_id, "model": MODEL, "status": status, "outputs": ["https://x"]}
    return json.dumps(prediction).encode()


def signed(body: bytes, at: datetime = NOW, secret: str = WEBHOOK_SECRET) -> dict[str, str]:
    """The headers of a callback, signed as the vendor's docs say."""
    timestamp = f"{at.timestamp():.0f}"
    key, message = secret.removeprefix("whsec_").encode(), f"msg_1.{timestamp}.".encode() + body
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v3,{hmac.new(key, message, hashlib.sha256).hexdigest()}",
    }

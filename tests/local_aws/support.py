"""What the tests of the local AWS share."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3

from cutout_local.aws.deploy import deploy, package
from cutout_local.aws.stack import LocalAws
from tests.support.waiting import wait_for

APP = Path(__file__).parent / "app"


class Account:
    """A local AWS with the stack of `app`, and a hand on it."""

    def __init__(self, aws: LocalAws, outputs: Mapping[str, str]) -> None:
        self.aws = aws
        self.outputs = outputs
        self.s3 = aws.client("s3")
        self.sqs = aws.client("sqs")
        self.events = aws.client("events")
        self.states = aws.client("stepfunctions")
        self.functions = aws.client("lambda")
        self.dynamodb = aws.client("dynamodb")

    def stranger(self, service: str, key: str | None, secret: str | None) -> Any:
        """A client with another key or secret than the root user's."""
        root = self.aws.credentials
        return boto3.client(  # type: ignore[call-overload]
            service,
            region_name=self.aws.region,
            endpoint_url=self.aws.endpoint_url,
            aws_access_key_id=key or root.access_key_id,
            aws_secret_access_key=secret or root.secret_access_key,
            verify=str(self.aws.certificate.ca),
        )

    # ------------------------------------------------------------ functions

    def invoke(self, function: str = "Hand", **event: Any) -> tuple[str | None, Any]:
        """The kind of error, if any, and the payload."""
        name, payload = self.outputs[function], json.dumps(event)
        answer = self.functions.invoke(FunctionName=name, Payload=payload)
        return answer.get("FunctionError"), json.load(answer["Payload"])

    def logged(self, text: str, group: str = "", seconds: float = 10) -> list[str]:
        """The lines that have `text` in them, once there are any; by default in Hand's log."""
        logs, group = self.aws.client("logs"), group or self.outputs["Logs"]

        def look() -> list[str]:
            found = logs.filter_log_events(logGroupName=group)["events"]
            return [event["message"] for event in found if text in event["message"]]

        return wait_for(look, seconds)

    # ------------------------------------------------------------ queues

    def send(self, queue: str, body: Any) -> str:
        text = body if isinstance(body, str) else json.dumps(body)
        sent = self.sqs.send_message(QueueUrl=self.outputs[queue], MessageBody=text)
        return str(sent["MessageId"])

    def receive(self, url: str, count: int = 1, seconds: float = 15) -> list[dict[str, Any]]:
        """The next messages, gone from the queue then."""
        got: list[dict[str, Any]] = []

        def look() -> bool:
            asked = self.sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
            )
            for message in asked.get("Messages", []):
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                got.append(message)
            return len(got) >= count

        wait_for(look, seconds)
        return got

    def received(self, queue: str, count: int = 1) -> list[Any]:
        """The bodies of the next messages."""
        messages = self.receive(self.outputs[queue], count)
        return [json.loads(message["Body"]) for message in messages]

    def left(self, queue: str) -> int:
        """How many messages a queue has, seen or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.outputs[queue], AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def new_queue(self, **attributes: str) -> str:
        made = self.sqs.create_queue(QueueName=f"q{uuid4().hex}", Attributes=attributes)
        return str(made["QueueUrl"])

    def arn(self, url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    # ------------------------------------------------------------ the table and the bucket

    def item(self, key: str) -> dict[str, Any]:
        answer = self.dynamodb.get_item(TableName=self.outputs["Table"], Key={"id": {"S": key}})
        found: dict[str, Any] = answer.get("Item", {})
        return found

    def put(self, key: str, body: bytes = b"x", **more: Any) -> Any:
        return self.s3.put_object(Bucket=self.outputs["Bucket"], Key=key, Body=body, **more)

    def get(self, key: str, **more: Any) -> bytes:
        answer = self.s3.get_object(Bucket=self.outputs["Bucket"], Key=key, **more)
        body: bytes = answer["Body"].read()
        return body

    # ------------------------------------------------------------ events

    def tell(self, source: str, **detail: Any) -> None:
        entry = {"Source": source, "DetailType": "Told", "Detail": json.dumps(detail)}
        assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def listen(self, url: str, pattern: Mapping[str, Any]) -> None:
        """Have a rule send to the queue what matches."""
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.arn(url),
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        name = f"r{uuid4().hex}"
        self.events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        self.events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": self.arn(url)}])

    def tick(self, count: int, seconds: float = 10) -> None:
        """Wait until a rule's schedule has invoked its function so often, from now on."""
        rule, group = self.outputs["TickingRule"], self.outputs["Logs"]
        logs = self.aws.client("logs")

        def told() -> int:
            events = logs.filter_log_events(logGroupName=group)["events"]
            return sum('"message": "tick"' in event["message"] for event in events)

        before = told()
        self.events.enable_rule(Name=rule)
        try:
            wait_for(lambda: told() >= before + count, seconds)
        finally:
            self.events.disable_rule(Name=rule)

    # ------------------------------------------------------------ executions

    def machine(self, states: Mapping[str, Any], role: str = "Role", **more: Any) -> str:
        first = next(iter(states))
        definition = {"QueryLanguage": "JSONata", "StartAt": first, "States": states, **more}
        made = self.states.create_state_machine(
            name=f"m{uuid4().hex}", roleArn=self.outputs[role], definition=json.dumps(definition)
        )
        return str(made["stateMachineArn"])

    def start(self, machine: str, given: Any = None, **more: Any) -> str:
        started = self.states.start_execution(
            stateMachineArn=machine, input=json.dumps(given or {}), **more
        )
        return str(started["executionArn"])

    def ended(self, execution: str, seconds: float = 20) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            return None if found["status"] == "RUNNING" else found

        return wait_for(look, seconds)

    def history(self, execution: str) -> list[str]:
        events = self.states.get_execution_history(executionArn=execution)["events"]
        return [event["type"] for event in events]

    def run(
        self, states: Mapping[str, Any], given: Any = None, role: str = "Role"
    ) -> dict[str, Any]:
        return self.ended(self.start(self.machine(states, role), given))

    def output(self, states: Mapping[str, Any], given: Any = None) -> Any:
        execution = self.run(states, given)
        assert execution["status"] == "SUCCEEDED", execution
        return json.loads(execution["output"])

    def task(self, event: Any, function: str = "Hand", **more: Any) -> dict[str, Any]:
        """A state that invokes a function."""
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": self.outputs[function], "Payload": event},
            "Output": "{% $states.result.Payload %}",
            **more,
        }

    def update(self, key: str, update: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """A state that updates an item."""
        table = {"TableName": self.outputs["Table"], "Key": {"id": {"S": key}}}
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:updateItem",
            "Arguments": {**table, **update},
            **more,
        }


@contextmanager
def account(folder: Path, **more: Any) -> Iterator[Account]:
    """An account in which a minute of a schedule takes a second."""
    with LocalAws(folder, schedule_scale=1 / 60, **more) as aws:
        yield Account(aws, deploy(aws, package(APP), "small", {}))

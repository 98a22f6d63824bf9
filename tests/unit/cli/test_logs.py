"""The functions' log lines about an upload."""

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from cutout_cli.logs import FunctionLogs
from tests.support.harness import NOW
from tests.unit.cli.conftest import (
    CloudFormation,
    Cutout,
    FakeStack,
)


def log(aws: Any, group: str, **fields: Any) -> None:
    client = aws.client("logs")
    for call in (client.create_log_group, client.create_log_stream):
        more = {"logStreamName": "s"} if call == client.create_log_stream else {}
        with suppress(client.exceptions.ResourceAlreadyExistsException):
            call(logGroupName=group, **more)
    at = int(fields.pop("at", NOW).timestamp() * 1000)
    event = {"timestamp": at, "message": json.dumps(fields)}
    client.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])


@pytest.fixture
def log_groups(cloudformation: CloudFormation, aws: Any) -> None:
    for name in ("submit", "poll"):
        group = ("AWS::Logs::LogGroup", f"/cutout/{name}")
        cloudformation.resources[f"{name.capitalize()}Logs"] = group


def test_the_lines_about_a_task_come_with_the_errors_of_their_runs(
    cutout: Cutout, upload: Any, aws: Any, log_groups: None
) -> None:
    task = upload("a.jpg")
    later = NOW + timedelta(seconds=5)
    log(aws, "/cutout/poll", at=later, level="ERROR", errorType="TimedOut",
        errorMessage="no result", requestId="run-1")  # fmt: skip
    log(aws, "/cutout/poll", level="INFO", message="polled", task_id=task.task_id,
        function_request_id="run-1")  # fmt: skip
    log(aws, "/cutout/submit", level="INFO", message="another", task_id="other")

    lines = cutout("logs", "a.jpg").stdout.splitlines()

    assert lines == [
        "2026-11-20 12:00:00 UTC  poll     INFO     polled",
        "2026-11-20 12:00:05 UTC  poll     ERROR    TimedOut: no result",
    ]


def test_an_error_of_a_function_is_found_since_a_time(
    stack: FakeStack, aws: Any, log_groups: None
) -> None:
    log(aws, "/cutout/submit", level="ERROR", message="it failed", exception_name="KeyError",
        exception="Traceback\n  File\nKeyError: 'TASKS_TABLE'")  # fmt: skip
    log(aws, "/cutout/poll", level="INFO", message="no ERROR at all")

    (line,) = FunctionLogs(stack).errors(NOW)
    assert (line.function, line.text) == ("submit", "it failed: KeyError: 'TASKS_TABLE'")

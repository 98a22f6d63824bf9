"""What the functions are told and what they tell, as text and back."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from cutout.aws.events import SOURCE
from cutout.domain.messages import (
    Callback,
    ConvertRequest,
    CutoutFailed,
    ExecutionEnded,
    ObjectCreated,
    PageRequest,
    PollRequest,
    QueueBatch,
    RetryRequest,
    callback_url,
    upload_message,
)
from cutout.domain.tasks import AttemptId
from tests.support import events, schemas
from tests.support.factories import make_task, make_upload

TASK_ID = "0123456789abcdef0123456789abcdef"


def test_the_queue_tells_an_upload_from_a_retry() -> None:
    (record,) = events.load("submit")["Records"]

    assert isinstance(upload_message(record["body"]), ObjectCreated)
    assert isinstance(upload_message(RetryRequest.body(TASK_ID)), RetryRequest)


def test_a_retry_reads_back_as_it_was_sent() -> None:
    body = RetryRequest.body(TASK_ID, pay_again=True, attempt=2)

    assert json.loads(body)["detail-type"] == "Cutout Retry"
    message = upload_message(body)
    assert isinstance(message, RetryRequest)
    assert message.detail == RetryRequest.Detail(task_id=TASK_ID, pay_again=True, attempt=2)


@pytest.mark.parametrize(
    "detail",
    [{}, {"task_id": "private"}, {"task_id": "A" * 32}, {"task_id": "0" * 32, "pay_again": "oh"}],
)
def test_a_message_that_is_neither_is_an_error_without_its_content(detail: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        upload_message(json.dumps({"detail-type": "Cutout Retry", "detail": detail}))

    assert "private" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "model"),
    [
        ("submit", QueueBatch),
        ("poll", PollRequest),
        ("convert", ConvertRequest),
        ("backstop", ExecutionEnded),
        ("backfill", PageRequest),
        ("reconcile", PageRequest),
    ],
)
def test_the_payload_of_a_function_is_one(function: str, model: type[BaseModel]) -> None:
    model.model_validate(events.load(function))


def test_every_function_has_a_payload() -> None:
    functions = (events.FOLDER.parent / "functions").glob("*/app.py")

    assert all(events.load(app.parent.name) for app in functions)


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("backstop", "prediction_failed", "the vendor ended it as failed: no subject"),
        ("execution-aborted", "execution_ended", "the wait loop aborted: no cause was given"),
    ],
)
def test_the_wait_loop_and_eventbridge_tell_of_an_end_in_one_form(
    name: str, code: str, reason: str
) -> None:
    execution = ExecutionEnded.model_validate(events.load(name)).detail

    assert AttemptId.parse(execution.name) == AttemptId(events.load("poll")["task_id"], 1)
    assert (execution.code, execution.reason) == (code, reason)


@pytest.mark.parametrize("attempt", [0, 1, 999_999_999])
def test_an_attempt_reads_back_as_it_was_written(attempt: int) -> None:
    attempt_id = AttemptId(TASK_ID, attempt)

    assert AttemptId.parse(str(attempt_id)) == attempt_id
    task = make_task(task_id=TASK_ID, attempt=attempt, callback_token="0a" * 16)
    assert Callback.parse(callback_url("", task)) == (attempt_id, "0a" * 16)


@pytest.mark.parametrize(
    "text",
    ["{id}", "{id}-", "{id}-01", "{id}-x", "{id}-1\n", "{id}-1000000000", "0{id}-1", "by-hand-1"],
)
def test_what_names_no_attempt_is_none(text: str) -> None:
    name = text.format(id=TASK_ID)

    assert AttemptId.parse(name) is None
    assert Callback.parse(f"/{name}-{'0a' * 16}") is None


def test_a_failure_says_which_upload_and_why() -> None:
    task = make_task(make_upload(key="a/ü 🐈.jpg"))

    assert CutoutFailed.of(task, "too_large", "it has too many bytes").model_dump() == {
        "version": "1",
        "task_id": task.task_id,
        "bucket": task.bucket,
        "key": "a/ü 🐈.jpg",
        "code": "too_large",
        "reason": "it has too many bytes",
    }


def test_the_schemas_of_the_events_are_published_and_no_others() -> None:
    published = {
        path.stem: path.read_text(encoding="utf-8") for path in schemas.FOLDER.glob("*.json")
    }

    assert published == {name: schemas.schema(name) for name in schemas.EVENTS}, "make schemas"


@pytest.mark.parametrize("name", schemas.EVENTS)
def test_the_example_of_an_event_is_one(name: str) -> None:
    event, model = events.load(name), schemas.EVENTS[name]

    assert (event["source"], event["detail-type"]) == (SOURCE, model.detail_type)
    assert model.model_validate(event["detail"]).model_dump(mode="json") == event["detail"]


@pytest.mark.parametrize("name", schemas.EVENTS)
def test_a_schema_requires_every_field_that_is_published(name: str) -> None:
    schema = json.loads(schemas.schema(name))

    assert schema["required"] == list(schema["properties"]) == list(events.load(name)["detail"])
    assert schema["properties"]["version"]["const"] == "1"

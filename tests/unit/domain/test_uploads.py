import re

import pytest
from pydantic import ValidationError

from cutout.domain.messages import ObjectCreated
from cutout.domain.uploads import Upload
from tests.support import events
from tests.support.factories import make_upload


def upload_of(name: str) -> Upload:
    return ObjectCreated.model_validate(events.load(name)).upload


@pytest.mark.parametrize("name", events.OBJECT_CREATED)
def test_an_upload_carries_what_the_event_says(name: str) -> None:
    said = events.load(name)["detail"]
    upload = upload_of(name)
    assert (upload.bucket, upload.key) == (said["bucket"]["name"], said["object"]["key"])
    assert (upload.etag, upload.size) == (said["object"]["etag"], said["object"]["size"])
    assert upload.version_id == said["object"].get("version-id")
    assert upload.sequencer == said["object"]["sequencer"]


def test_keys_are_taken_as_they_are() -> None:
    assert upload_of("object-created-odd-key").key == "up/ a+b%20c/Grüße 東京 🐈.PNG"


def test_the_events_are_different_tasks() -> None:
    ids = {upload_of(name).task_id for name in events.OBJECT_CREATED}
    assert len(ids) == len(events.OBJECT_CREATED)


@pytest.mark.parametrize("name", events.OBJECT_CREATED)
def test_an_event_delivered_twice_is_the_same_task(name: str) -> None:
    assert upload_of(name).task_id == upload_of(name).task_id


def test_a_task_id_is_32_hex_characters() -> None:
    assert re.fullmatch("[0-9a-f]{32}", make_upload().task_id)


def test_a_new_version_is_a_new_task() -> None:
    assert make_upload(version_id="v1").task_id != make_upload(version_id="v2").task_id


def test_the_same_version_is_the_same_task_whatever_else_is_said() -> None:
    again = make_upload(sequencer="2", etag="other", size=9)
    assert make_upload(sequencer="1").task_id == again.task_id


def test_without_versions_the_sequencer_tells_uploads_apart() -> None:
    first, second = (make_upload(version_id=None, sequencer=number) for number in "12")
    assert first.task_id != second.task_id


def test_while_versioning_is_suspended_the_sequencer_tells_uploads_apart() -> None:
    first, second = (make_upload(version_id="null", sequencer=number) for number in "12")
    assert first.task_id != second.task_id


def test_without_version_and_sequencer_the_content_tells_uploads_apart() -> None:
    first, second = (make_upload(version_id=None, etag=etag) for etag in ("e1", "e2"))
    assert first.task_id != second.task_id


def test_bucket_and_key_do_not_run_into_each_other() -> None:
    assert make_upload(bucket="a", key="b/c").task_id != make_upload(bucket="a/b", key="c").task_id
    assert make_upload(key='a", "b').task_id != make_upload(key="a").task_id


def test_an_event_that_is_not_an_upload_is_an_error() -> None:
    event = events.load("object-created-put")
    event["detail"]["object"] = {"key": "private/name.jpg", "reason": "deleted"}
    with pytest.raises(ValidationError) as caught:
        ObjectCreated.model_validate(event)
    assert "object.size" in str(caught.value)


def test_the_queue_message_holds_the_event_as_it_was() -> None:
    (record,) = events.load("submit")["Records"]
    assert ObjectCreated.model_validate_json(record["body"]).upload == upload_of(
        "object-created-put"
    )


def test_the_poll_request_asks_for_the_queue_messages_task() -> None:
    assert events.load("poll") == {"task_id": upload_of("object-created-put").task_id}

"""With `ReuseResults`, of uploads with the same bytes one is paid, and the others are copies."""

from typing import Any

import httpx
import pytest

from cutout.domain.errors import ServiceError
from cutout.domain.tasks import Status, Task, TaskChanges
from cutout.domain.uploads import Upload
from cutout.store.governor import Charge, Governor
from tests.support.harness import (
    MODEL,
    NOW,
    PipelineHarness,
    accepted,
    answer,
    download,
    refused,
)
from tests.support.images import HEIC, jpeg, png

OTHER_MODEL = "acme/other"
PHOTO, PNG = jpeg(40, 30), png(40, 30)


class Reusing:
    """The pipeline with the option on, a step at a time."""

    def __init__(self, harness: PipelineHarness) -> None:
        self.harness = harness
        self.settings: dict[str, Any] = {"reuse_results": True, "allowed_models": OTHER_MODEL}

    def upload(self, key: str, body: bytes = PHOTO, **metadata: str) -> Upload:
        return self.harness.upload(body, key, **metadata)

    def submit(self, upload: Upload, *answers: httpx.Response) -> Task:
        """Have an upload taken up; the vendor must be asked as often as there are answers."""
        self.harness.answers = list(answers)
        self.harness.submitter(**self.settings).submit(upload)
        assert self.harness.answers == []
        return self.harness.task(upload)

    def send(self, upload: Upload, prediction_id: str = "p1") -> Task:
        task = self.submit(upload, accepted(prediction_id))
        assert task.status is Status.PROCESSING
        return task

    def poll(self, upload: Upload, *answers: httpx.Response) -> Task:
        self.harness.answers = list(answers)
        told = self.harness.poller(reuse_results=True).poll(upload.task_id)
        assert self.harness.answers == []
        task = self.harness.task(upload)
        assert told.status is task.status
        assert (told.wait_seconds > 0) is (task.status is Status.PROCESSING)
        return task

    def complete(self, upload: Upload, prediction_id: str = "p1", body: bytes = PNG) -> Task:
        url = "https://vendor.test/out.png"
        done = answer(id=prediction_id, status="completed", outputs=[url])
        return self.poll(upload, done, download(body))

    def close(self, upload: Upload) -> None:
        task = self.harness.task(upload)
        self.harness.closer().close(task, Status.FAILED, "prediction_failed", "no subject")

    def png(self, key: str) -> bytes:
        body: bytes = self.harness.s3.get_object(Bucket="cutouts", Key=key)["Body"].read()
        return body


@pytest.fixture
def reusing(harness: PipelineHarness) -> Reusing:
    harness.s3.put_bucket_versioning(
        Bucket="cutouts", VersioningConfiguration={"Status": "Enabled"}
    )
    return Reusing(harness)


@pytest.fixture
def first(reusing: Reusing) -> Task:
    """An upload that was sent, paid and completed."""
    upload = reusing.upload("first.jpg")
    reusing.send(upload)
    return reusing.complete(upload)


def test_an_equal_upload_gets_the_same_png_for_nothing(
    reusing: Reusing, first: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[None] = []
    monkeypatch.setattr("cutout.poll.count_reused", lambda: counted.append(None))
    second = reusing.upload("second.jpg", title="mine")

    assert reusing.submit(second).status is Status.PROCESSING
    copied = reusing.poll(second)

    assert (copied.status, copied.reused_from) == (Status.COMPLETED, first.task_id)
    assert len(counted) == 1
    assert reusing.png("second.jpg.png") == PNG
    saved = reusing.harness.s3.head_object(Bucket="cutouts", Key="second.jpg.png")
    assert saved["Metadata"]["cutout-reused-from"] == first.task_id
    assert saved["Metadata"]["cutout-task-id"] == copied.task_id
    assert saved["Metadata"]["title"] == "mine"
    told = [event["detail"] for event in reusing.harness.published()]
    assert [event["reused_from"] for event in told] == [None, first.task_id]


@pytest.mark.parametrize(
    ("body", "metadata"),
    [(jpeg(41, 30), {}), (PHOTO, {"cutout_model": OTHER_MODEL})],
)
def test_other_bytes_or_another_model_are_paid(
    reusing: Reusing, first: Task, body: bytes, metadata: dict[str, str]
) -> None:
    task = reusing.submit(reusing.upload("b.jpg", body, **metadata), accepted("p2"))

    assert (task.prediction_id, task.reused_from) == ("p2", None)


def test_the_option_is_off_unless_it_is_asked_for(harness: PipelineHarness) -> None:
    harness.answers = [accepted("p1"), accepted("p2")]
    uploads = [harness.upload(PHOTO, f"{number}.jpg") for number in range(2)]
    for upload in uploads:
        harness.submitter().submit(upload)

    assert harness.answers == []
    assert [harness.task(upload).content_sha256 for upload in uploads] == [None, None]


def test_once_the_option_is_off_nothing_is_copied(reusing: Reusing) -> None:
    second, first = reusing.upload("second.jpg"), reusing.upload("first.jpg")
    assert reusing.submit(second, refused(429)).content_sha256
    reusing.send(first)
    reusing.complete(first)

    reusing.settings["reuse_results"] = False
    reusing.harness.pass_time(60)

    task = reusing.submit(second, accepted("p2"))
    assert (task.prediction_id, task.reused_from) == ("p2", None)


def test_budget_and_plan_are_not_touched_by_a_copy(reusing: Reusing) -> None:
    reusing.settings |= {"daily_budget": "0.01", "images_per_minute": 1}
    first, second = reusing.upload("first.jpg"), reusing.upload("second.jpg")
    reusing.submit(first, answer(model_id=MODEL, price=0.01), accepted())
    reusing.complete(first)
    before = reusing.harness.table.get("#governor")
    assert before
    assert before["spent"] == 10_000  # millionths

    reusing.submit(second)

    assert reusing.poll(second).status is Status.COMPLETED
    assert reusing.harness.table.get("#governor") == before


def test_while_the_first_is_on_its_way_the_second_waits_for_it(reusing: Reusing) -> None:
    first, second = reusing.upload("first.jpg"), reusing.upload("second.jpg")
    reusing.send(first)

    reusing.submit(second)
    assert reusing.poll(second).status is Status.PROCESSING
    reusing.complete(first)

    assert reusing.poll(second).status is Status.COMPLETED


def test_of_two_at_once_one_pays(reusing: Reusing) -> None:
    """The second is written ahead before the first is; both found nobody who pays."""
    first, second = reusing.upload("first.jpg"), reusing.upload("second.jpg")
    harness = reusing.harness

    def meanwhile(params: dict[str, Any], **_: Any) -> None:
        # The first is written ahead: the second goes all the way before the first claims.
        written = params["ExpressionAttributeValues"]
        if {"S": "submitting"} in written.values():
            harness.dynamodb.meta.events.unregister(EVENT, meanwhile)
            harness.submitter(**reusing.settings).submit(second)

    harness.on(harness.dynamodb, EVENT, meanwhile)
    reusing.submit(first, accepted("p2"))

    assert harness.task(second).prediction_id == "p2"
    assert harness.task(first).reused_from == second.task_id
    reusing.complete(second, "p2")
    assert reusing.poll(first).status is Status.COMPLETED


EVENT = "provide-client-params.dynamodb.UpdateItem"


def test_when_the_first_fails_the_second_pays(reusing: Reusing) -> None:
    first, second = reusing.upload("first.jpg"), reusing.upload("second.jpg")
    reusing.send(first)
    reusing.submit(second)
    reusing.close(first)

    waiting = reusing.poll(second)
    assert (waiting.status, waiting.reused_from) == (Status.QUEUED, None)
    assert waiting.due_at == reusing.harness.now
    assert waiting.code == "waits_for_turn"
    assert str(waiting.reason).endswith("which came before, has no PNG to be copied")

    assert reusing.send(second, "p2").prediction_id == "p2"
    assert reusing.complete(second, "p2").status is Status.COMPLETED
    third = reusing.upload("third.jpg")
    assert reusing.submit(third).reused_from == second.task_id


def test_a_copy_keeps_nothing_of_an_earlier_attempt(reusing: Reusing, first: Task) -> None:
    left: TaskChanges = {
        "prediction_id": "p0",
        "callback_expected": True,
        "callback_token": "token",
        "called_back_at": NOW,
        "slot_at": NOW,
        "submit_after": NOW,
        "code": "rate_limited",
        "reason": "too fast",
    }
    harness, second = reusing.harness, reusing.upload("second.jpg", PHOTO)
    task = harness.ledger.claim(harness.submitter()._new_task(second))
    harness.ledger.update(task, **left)

    copied = reusing.submit(second, answer(id="p0", status="failed"))

    assert (copied.reused_from, copied.attempt, copied.model) == (first.task_id, 1, first.model)
    assert [name for name in left if getattr(copied, name)] == []
    started = harness.first_input(copied)
    assert (started["wait_seconds"], started["await_callback"]) == (0, False)


def test_a_copy_is_of_the_model_that_its_object_asks_for(reusing: Reusing) -> None:
    reusing.settings["model_id"] = OTHER_MODEL
    first = reusing.upload("first.jpg")
    reusing.send(first)
    reusing.complete(first)
    reusing.settings |= {"model_id": MODEL}

    copied = reusing.submit(reusing.upload("second.jpg", cutout_model=OTHER_MODEL))

    assert copied.model == OTHER_MODEL


def test_who_need_not_pay_after_all_is_written_first_and_given_his_money_back(
    reusing: Reusing, first: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    reusing.settings["daily_budget"] = "1"
    monkeypatch.setattr("cutout.reuse.Reuse.source", lambda *_: None)
    monkeypatch.setattr("cutout.reuse.Reuse.claim", lambda *_: first.task_id)
    refund, refunded = Governor.refund, list[Status]()
    second = reusing.upload("second.jpg")

    def seen(governor: Governor, charge: Charge) -> None:
        refunded.append(reusing.harness.task(second).status)
        refund(governor, charge)

    monkeypatch.setattr(Governor, "refund", seen)
    copied = reusing.submit(second, answer(model_id=MODEL, price=0.01))

    assert (copied.reused_from, copied.attempt) == (first.task_id, 1)
    assert refunded == [Status.PROCESSING]
    assert (reusing.harness.table.get("#governor") or {})["spent"] == 0


def test_the_bytes_of_an_upload_that_waits_are_read_once(
    reusing: Reusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = reusing.upload("first.jpg")
    reusing.submit(upload, refused(429))
    monkeypatch.setattr("cutout.aws.s3.Storage.sha256", None)
    reusing.harness.pass_time(60)

    assert reusing.send(upload).content_sha256


def test_an_equal_upload_is_not_converted_again(
    reusing: Reusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reusing.upload("first.heic", HEIC)
    reusing.send(first)
    monkeypatch.setattr("cutout.convert.upright", None)

    second = reusing.submit(reusing.upload("second.heic", HEIC))

    assert second.reused_from == first.task_id


@pytest.mark.parametrize("reply", [refused(429), refused(500)])
def test_one_that_is_not_sent_or_uncertain_is_not_waited_for(
    reusing: Reusing, reply: httpx.Response
) -> None:
    reusing.submit(reusing.upload("first.jpg"), reply)

    assert reusing.send(reusing.upload("second.jpg"), "p2").reused_from is None


def test_one_that_the_ledger_has_forgotten_is_not_waited_for(reusing: Reusing) -> None:
    first, second = reusing.upload("first.jpg"), reusing.upload("second.jpg")
    reusing.send(first)
    reusing.submit(second)
    reusing.harness.dynamodb.delete_item(TableName="tasks", Key={"task_id": {"S": first.task_id}})

    assert reusing.poll(second).status is Status.QUEUED
    assert reusing.send(second, "p2").reused_from is None


def test_the_very_version_is_copied_when_another_png_has_come_under_the_key(
    reusing: Reusing, first: Task
) -> None:
    reusing.harness.s3.put_object(Bucket="cutouts", Key=first.output_key, Body=png(7, 7))
    second = reusing.upload("second.jpg")

    reusing.submit(second)
    reusing.poll(second)

    assert reusing.png("second.jpg.png") == PNG


def test_a_png_that_is_gone_is_not_copied_and_not_asked_for_again(
    reusing: Reusing, first: Task
) -> None:
    version: Any = {"VersionId": first.output_version_id}
    reusing.harness.s3.delete_object(Bucket="cutouts", Key=first.output_key, **version)
    second = reusing.upload("second.jpg")

    reusing.submit(second)

    assert reusing.poll(second).status is Status.QUEUED
    assert reusing.send(second, "p2").prediction_id == "p2"


def test_without_versions_a_png_that_was_replaced_is_not_copied(harness: PipelineHarness) -> None:
    reusing = Reusing(harness)
    first, second = reusing.upload("first.jpg"), reusing.upload("second.jpg")
    reusing.send(first)
    key = reusing.complete(first).output_key
    harness.s3.put_object(Bucket="cutouts", Key=key, Body=png(7, 7), Metadata={})

    reusing.submit(second)

    assert reusing.poll(second).status is Status.QUEUED


def test_a_copy_of_an_older_revision_replaces_no_newer_one(reusing: Reusing, first: Task) -> None:
    older = reusing.upload("same.jpg").model_copy(update={"sequencer": "1"})
    newer = reusing.upload("same.jpg", jpeg(50, 30)).model_copy(update={"sequencer": "2"})
    reusing.send(newer, "p2")
    reusing.complete(newer, "p2", png(50, 30))

    reusing.submit(older)

    assert reusing.poll(older).status is Status.SUPERSEDED
    assert reusing.png("same.jpg.png") == png(50, 30)


def test_a_copy_passes_the_checks_that_a_result_passes(reusing: Reusing) -> None:
    first, second = reusing.upload("first.jpg"), reusing.upload("second.jpg")
    reusing.send(first)
    reusing.complete(first, body=png(40, 30, alpha=True))
    reusing.submit(second)

    with pytest.raises(Exception, match="more than the 0 bytes allowed"):
        reusing.harness.poller(reuse_results=True, max_output_megabytes=0).poll(second.task_id)

    assert "second.jpg.png" not in {
        found["Key"] for found in reusing.harness.s3.list_objects_v2(Bucket="cutouts")["Contents"]
    }


def test_what_cannot_be_claimed_is_paid_rather_than_uncertain(
    reusing: Reusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ServiceError("DynamoDB failed")

    monkeypatch.setattr("cutout.reuse.Contents.claim", fails)

    assert reusing.send(reusing.upload("first.jpg")).status is Status.PROCESSING


def test_an_upload_that_was_replaced_is_rejected_when_it_is_read(harness: PipelineHarness) -> None:
    """Of a bucket without versions: other bytes must not go by the first ones' digest."""
    reusing = Reusing(harness)
    upload = harness.upload(PHOTO, "first.jpg").model_copy(update={"etag": "another"})

    assert reusing.submit(upload).code == "source_gone"

"""The stack with the webhook on: woken by the vendor, and safe when the vendor's call is lost."""

import ssl
from collections.abc import Iterator

import httpx
import pytest

from cutout.domain.tasks import Status
from tests.e2e.conftest import photo, running
from tests.support.stack_client import StackClient


@pytest.fixture(scope="module")
def stack() -> Iterator[StackClient]:
    with running(Webhook="on", WebhookFallbackSeconds="12", DeadlineSeconds="90") as stack:
        yield stack


def test_a_callback_wakes_the_wait_loop_for_its_only_poll(stack: StackClient) -> None:
    task = stack.ended(stack.upload(photo(), "woken.jpg"))

    assert (task.status, task.polls) == (Status.COMPLETED, 1)
    assert task.called_back_at is not None


@pytest.mark.parametrize(
    "fault", ["webhook-lost", "webhook-late", "webhook-twice", "webhook-forged"]
)
def test_whatever_becomes_of_a_callback_the_image_comes(stack: StackClient, fault: str) -> None:
    key = f"{fault}.jpg"
    stack.ask_for_fault(fault, key, seconds=15)

    task = stack.ended(stack.upload(photo(), key))

    assert (task.status, len(stack.billed(key))) == (Status.COMPLETED, 1)
    assert stack.image(f"{key}.png").mode == "RGBA"


def test_a_callback_settles_a_submit_whose_answer_was_lost(stack: StackClient) -> None:
    stack.ask_for_fault("submit-accepted-dropped", "settled.jpg")
    upload = stack.upload(photo(), "settled.jpg")

    task = stack.reached(upload, Status.COMPLETED)

    assert Status.UNCERTAIN in task.entered_at or task.called_back_at
    assert len(stack.billed("settled.jpg")) == 1


def test_a_failure_is_called_back_too(stack: StackClient) -> None:
    stack.ask_for_fault("task-fails", "fails.jpg")

    task = stack.ended(stack.upload(photo(), "fails.jpg"))

    assert (task.code, task.polls) == ("prediction_failed", 1)


def test_an_object_chooses_its_own_way(stack: StackClient) -> None:
    wishes = [{"cutout-sync": "true"}, {"cutout-base64": "true"}, {"cutout-model": "other/model"}]
    uploads = [
        stack.upload(photo(), f"wish/{number}.jpg", Metadata=wish)
        for number, wish in enumerate(wishes)
    ]

    synchronous, base64, refused = (stack.ended(upload) for upload in uploads)

    assert (synchronous.status, synchronous.polls) == (Status.COMPLETED, 1)
    assert (base64.status, base64.callback_expected) == (Status.COMPLETED, False)
    assert stack.image("wish/1.jpg.png").mode == "RGBA"
    assert (refused.status, refused.code) == (Status.REJECTED, "bad_override")
    assert stack.billed("wish/2.jpg") == []


@pytest.mark.parametrize(
    ("body", "status"), [(b"{}", 401), (b"\xff\xfe", 401), (bytes(300_000), 413)]
)
def test_strangers_are_turned_away_without_a_word(
    stack: StackClient, body: bytes, status: int
) -> None:
    url, ca = stack.local.outputs["WebhookUrl"], stack.env["AWS_CA_BUNDLE"]

    answer = httpx.post(
        f"{url}{'0' * 32}-1", content=body, verify=ssl.create_default_context(cafile=ca)
    )

    assert (answer.status_code, answer.content) == (status, b"")

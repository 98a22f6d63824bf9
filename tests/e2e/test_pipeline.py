"""From the input bucket to the output bucket, through everything that lies between."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from PIL import Image

from cutout.domain.tasks import Status
from tests.e2e.conftest import HIDDEN, photo, running
from tests.support.engines import oval
from tests.support.images import encode
from tests.support.stack_client import StackClient, event_of
from tests.support.waiting import wait_for

KEYS = [
    "photo.jpg",
    "deep/er/no suffix",
    "with space/a+b%20c&d=e;f.jpg",
    "ümlaut/日本/😀.JPG",
    "..dots/quote'\"\\.jpg",
    "k" * 1020,
]


@pytest.fixture(scope="module")
def stack() -> Iterator[StackClient]:
    with running(load_engine=oval) as stack:
        yield stack


def test_every_key_leads_to_a_png_under_the_mirrored_key(stack: StackClient) -> None:
    uploads = [stack.upload(photo(), key) for key in KEYS]

    for upload in uploads:
        task = stack.ended(upload)
        assert (task.status, task.reason) == (Status.COMPLETED, None)
        image = stack.image(f"{upload.key}.png")
        assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (160, 120))
        alpha = image.getchannel("A")
        assert alpha.getpixel((80, 60)) == 255
        assert alpha.getpixel((2, 2)) == 0
        assert len(stack.billed(upload.key)) == 1
        assert stack.execution(task)["status"] == "SUCCEEDED"


def test_every_format_of_the_vendor_goes_through_whatever_its_name(stack: StackClient) -> None:
    formats = ("PNG", "WEBP", "GIF", "BMP", "TIFF")
    uploads = [stack.upload(photo(format=name), f"formats/{name}.dat") for name in formats]

    for upload in uploads:
        assert stack.ended(upload).status is Status.COMPLETED
        assert stack.image(f"{upload.key}.png").mode == "RGBA"


def test_metadata_and_tags_go_along_with_where_the_png_came_from(stack: StackClient) -> None:
    upload = stack.upload(photo(), "tagged.jpg", Metadata={"owner": "me"}, Tagging="team=cats")

    task = stack.ended(upload)

    place = {"Bucket": stack.env["OUTPUT_BUCKET"], "Key": "tagged.jpg.png"}
    head = stack.s3.head_object(**place)
    assert head["ContentType"] == "image/png"
    assert head["Metadata"]["owner"] == "me"
    assert head["Metadata"]["cutout-task-id"] == upload.task_id
    assert head["Metadata"]["cutout-prediction-id"] == task.prediction_id
    assert head["Metadata"]["cutout-confidence"] == task.confidence == "low"
    assert stack.s3.get_object_tagging(**place)["TagSet"] == [{"Key": "team", "Value": "cats"}]


def test_an_event_delivered_twice_is_one_task_one_post_one_png(stack: StackClient) -> None:
    upload = stack.upload(photo(), "twice.jpg")
    for _ in range(3):
        stack.send(event_of(upload))

    stack.ended(upload)

    wait_for(lambda: queue_is_idle(stack))
    assert len(stack.billed("twice.jpg")) == 1
    versions = stack.s3.list_object_versions(
        Bucket=stack.env["OUTPUT_BUCKET"], Prefix="twice.jpg.png"
    )
    assert len(versions["Versions"]) == 1


def test_a_multipart_upload_is_one_task(stack: StackClient, tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    file.write_bytes(photo() + bytes(6 << 20))  # what follows a JPEG's end is ignored
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    stack.s3.upload_file(str(file), stack.env["INPUT_BUCKET"], "large.jpg", Config=parts)

    wait_for(lambda: "large.jpg.png" in stack.output_keys())

    assert len(stack.billed("large.jpg")) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"%PDF-1.7 is not an image", "unsupported_format"),
        (b"", "unsupported_format"),
        (encode(Image.new("RGB", (2000, 1001)), "PNG"), "too_many_pixels"),
    ],
)
def test_what_is_no_image_is_rejected_and_costs_nothing(
    stack: StackClient, body: bytes, code: str
) -> None:
    upload = stack.upload(body, f"bad/{code}/{len(body)}.jpg")

    task = stack.ended(upload)

    assert (task.status, task.code) == (Status.REJECTED, code)
    assert stack.billed(upload.key) == []


def test_an_image_without_a_subject_fails_with_the_vendors_words(stack: StackClient) -> None:
    blank = encode(Image.new("RGB", (64, 64), "white"), "PNG")
    upload = stack.upload(blank, "blank.png")

    task = stack.ended(upload)

    assert (task.status, task.code) == (Status.FAILED, "prediction_failed")
    assert "no subject was found" in str(task.reason)
    execution = stack.execution(task)
    assert (execution["status"], execution["error"]) == ("FAILED", "PredictionFailed")
    assert execution["cause"] == task.reason


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("task-fails", "prediction_failed"),
        ("task-cancelled", "prediction_failed"),
        ("output-expired", "output_gone"),
        ("output-incomplete", "bad_output"),
        ("output-wrong-bytes", "bad_output"),
        ("output-no-alpha", "bad_output"),
        ("output-private-redirect", "output_blocked"),
    ],
)
def test_a_fault_of_the_vendor_ends_in_a_failure_that_says_so(
    stack: StackClient, fault: str, code: str
) -> None:
    key = f"faults/{fault}.jpg"
    stack.ask_for_fault(fault, key)
    upload = stack.upload(photo(), key)

    task = stack.ended(upload)

    assert (task.status, task.code) == (Status.FAILED, code)
    assert stack.execution(task)["status"] == "FAILED"
    assert f"{key}.png" not in stack.output_keys()


@pytest.mark.parametrize("fault", ["submit-accepted-dropped", "submit-accepted-gateway-timeout"])
def test_a_lost_answer_is_not_paid_again(stack: StackClient, fault: str) -> None:
    key = f"lost/{fault}.jpg"
    stack.ask_for_fault(fault, key)
    upload = stack.upload(photo(), key)

    task = stack.ended(upload)

    assert (task.status, task.code) == (Status.UNCERTAIN, "answer_lost")
    stack.send(event_of(upload))
    wait_for(lambda: queue_is_idle(stack))
    assert len(stack.billed(key)) == 1


def test_a_message_that_nobody_understands_ends_in_the_dead_letter_queue(
    stack: StackClient,
) -> None:
    stack.send("what?")

    dead_letters = stack.env["DEAD_LETTER_QUEUE_URL"]
    dead = wait_for(lambda: stack.sqs.receive_message(QueueUrl=dead_letters).get("Messages"))

    assert [message["Body"] for message in dead] == ["what?"]


def test_the_plain_aws_cli_works_against_the_stack(stack: StackClient, tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    image.write_bytes(photo())

    def aws(*arguments: str) -> Any:
        command = [sys.executable, "-m", "awscli", *arguments]
        environment = stack.env | {"PATH": os.defpath, "HOME": str(tmp_path)}
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        return json.loads(done.stdout or b"null")

    bucket, machine = stack.env["INPUT_BUCKET"], stack.env["STATE_MACHINE_ARN"]
    aws("s3", "cp", "--only-show-errors", str(image), f"s3://{bucket}/cli/a b.jpg")
    wait_for(lambda: "cli/a b.jpg.png" in stack.output_keys())

    assert aws("stepfunctions", "list-executions", "--state-machine-arn", machine)["executions"]
    values = json.dumps({":o": {"S": f"{bucket}/cli/a b.jpg"}})
    found = aws(
        *("dynamodb", "query", "--table-name", stack.env["TASKS_TABLE"]),
        *("--index-name", "by-object", "--key-condition-expression", "#o = :o"),
        *("--expression-attribute-names", '{"#o": "object"}'),
        *("--expression-attribute-values", values),
    )
    assert [item["status"]["S"] for item in found["Items"]] == ["completed"]
    queue = aws(
        *("sqs", "get-queue-attributes", "--queue-url", stack.env["UPLOAD_QUEUE_URL"]),
        *("--attribute-names", "VisibilityTimeout"),
    )
    assert queue["Attributes"]["VisibilityTimeout"] == str(HIDDEN)


def test_the_logs_tell_the_task_and_no_secret(stack: StackClient) -> None:
    upload = stack.upload(photo(), "logged.jpg")
    task = stack.ended(upload)

    groups = ("/aws/lambda/cutout/submit", "/aws/lambda/cutout/poll")
    logged = "".join(
        event["message"]
        for group in groups
        for event in stack.logs.filter_log_events(logGroupName=group)["events"]
    )

    assert task.task_id in logged
    assert str(task.prediction_id) in logged
    for secret in ("X-Amz-Signature", stack.env["WAVESPEED_API_KEY"], "logged.jpg", "/outputs/"):
        assert secret not in logged


def queue_is_idle(stack: StackClient) -> bool:
    """Whether no message is due or in work; some may wait for a lease to end."""
    attributes = stack.sqs.get_queue_attributes(
        QueueUrl=stack.env["UPLOAD_QUEUE_URL"], AttributeNames=["All"]
    )["Attributes"]
    due, in_work = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
    return (attributes[due], attributes[in_work]) == ("0", "0")

"""What the vendor does not take is converted first, in a function of its own."""

from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageCms

from cutout.convert import upright
from cutout.domain.errors import (
    ServiceError,
    TooFewPixels,
    TooManyPixels,
    UnsupportedFormat,
    UploadForbidden,
)
from cutout.domain.images import is_convertible
from cutout.domain.tasks import Status
from tests.support import images
from tests.support.harness import CONVERTED, PipelineHarness, accepted, answer, download
from tests.support.images import HEIC, avif, encode, noise

ENOUGH = 1  # megapixel
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


# ------------------------------------------------------------------ what is converted


@pytest.mark.parametrize(
    ("data", "convertible"),
    [
        (HEIC, True),
        (avif(), True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix", True),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", False),
        (b"\0\0\0\x14ftypisom\0\0\0\0isomheic", False),  # beyond the end of its box
        (b"", False),
        *((make(8, 6), False) for make in images.FORMATS.values()),
    ],
)
def test_heic_and_avif_are_known_by_their_brands(data: bytes, convertible: bool) -> None:
    file = BytesIO(data)
    assert is_convertible(file) is convertible
    assert file.tell() == 0


def test_a_heic_becomes_an_upright_jpeg() -> None:
    data, media_type = upright(HEIC, ENOUGH)

    image = opened(data)
    assert (image.format, media_type, image.size) == ("JPEG", "image/jpeg", (48, 64))
    top, bottom = np.asarray(image)[[5, -5], 24]
    assert top[0] > 150 > bottom[0]  # red on top
    assert bottom[1] > 100 > top[1]  # green below
    assert image.getexif() == {}


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_avifs_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:15, :20] = 255
    stored = Image.fromarray(pixels)
    turned = {1: 0, 3: 180, 6: 270, 8: 90}[orientation]  # counterclockwise

    data, _ = upright(encode(stored, "AVIF", exif=exif, quality=95), ENOUGH)

    expected = np.asarray(stored.rotate(turned, expand=True), np.int16)
    found = np.asarray(opened(data), np.int16)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 8


def test_the_colour_profile_is_kept() -> None:
    data, _ = upright(encode(noise(8, 6), "AVIF", icc_profile=PROFILE), ENOUGH)

    assert opened(data).info["icc_profile"] == PROFILE


def test_transparency_is_kept_in_a_png() -> None:
    pixels = np.full((6, 8, 4), 255, np.uint8)
    pixels[:3, :, 3] = 0

    data, media_type = upright(encode(Image.fromarray(pixels), "AVIF", icc_profile=PROFILE), ENOUGH)

    image = opened(data)
    assert (image.format, image.mode, media_type) == ("PNG", "RGBA", "image/png")
    assert np.asarray(image)[[0, -1], 0, 3].tolist() == [0, 255]
    assert image.info["icc_profile"] == PROFILE


def test_pixels_are_counted_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    bomb = avif(1100, 1000)
    monkeypatch.setattr("PIL.AvifImagePlugin.AvifImageFile.load", decode)

    with pytest.raises(TooManyPixels, match="1100 x 1000"):
        upright(bomb, ENOUGH)


def test_a_single_row_is_refused() -> None:
    with pytest.raises(TooFewPixels):
        upright(avif(8, 1), ENOUGH)


@pytest.mark.parametrize("data", [HEIC[:-9], HEIC[:40], avif()[:-9], images.jpeg(), b""])
def test_what_cannot_be_decoded_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="cannot be decoded"):
        upright(data, ENOUGH)


# ------------------------------------------------------------------ on its way


def submitted(
    harness: PipelineHarness, body: bytes, *answers: httpx.Response, **settings: Any
) -> Any:
    """A phone's photo that was taken up; the vendor is asked as often as there are answers."""
    upload = harness.upload(body, "phone.heic")
    harness.answers = list(answers)
    harness.submitter(**settings).submit(upload)
    assert harness.answers == []
    return upload


def copies(harness: PipelineHarness) -> list[str]:
    listed = harness.s3.list_objects_v2(Bucket=CONVERTED)
    return [found["Key"] for found in listed.get("Contents", [])]


@pytest.mark.parametrize("body", [HEIC, avif(40, 30)])
def test_the_vendor_is_given_a_copy_that_is_gone_once_it_is_done(
    harness: PipelineHarness, body: bytes
) -> None:
    upload = submitted(harness, body, accepted())

    asked = httpx.URL(httpx.Response(200, content=harness.requests[0].content).json()["image"])
    assert asked.host.startswith(f"{CONVERTED}.")
    assert asked.path == f"/converted/{upload.task_id}"
    assert asked.params["response-content-type"] == "image/jpeg"
    copy = harness.s3.get_object(Bucket=CONVERTED, Key=f"converted/{upload.task_id}")
    assert copy["Body"].read().startswith(b"\xff\xd8")

    url = "https://vendor.test/out.png"
    harness.answers = [answer(id="p1", status="processing")]
    harness.poller().poll(upload.task_id)
    assert copies(harness) == [f"converted/{upload.task_id}"]
    done = answer(id="p1", status="completed", outputs=[url])
    harness.answers = [done, download(images.png(40, 30))]
    harness.poller().poll(upload.task_id)

    assert harness.task(upload).status is Status.COMPLETED
    assert copies(harness) == []
    assert harness.s3.head_object(Bucket="cutouts", Key="phone.heic.png")


def test_of_a_failed_prediction_the_copy_is_gone_too(harness: PipelineHarness) -> None:
    upload = submitted(harness, HEIC, accepted())
    harness.answers = [answer(id="p1", status="failed", error="no subject")]

    with pytest.raises(Exception, match="no subject"):
        harness.poller().poll(upload.task_id)

    assert copies(harness) == []


def test_that_a_copy_cannot_be_deleted_costs_no_result(harness: PipelineHarness) -> None:
    upload = submitted(harness, HEIC, accepted())
    url = "https://vendor.test/out.png"
    done = answer(id="p1", status="completed", outputs=[url])
    harness.answers = [done, download(images.png(40, 30))]

    harness.poller(converted_bucket="no-such-bucket").poll(upload.task_id)

    assert harness.task(upload).status is Status.COMPLETED


@pytest.mark.parametrize(
    ("body", "code"), [(HEIC[:-9], "unsupported_format"), (avif(1100, 1000), "too_many_pixels")]
)
def test_what_cannot_be_converted_is_rejected_and_not_paid(
    harness: PipelineHarness, body: bytes, code: str
) -> None:
    task = harness.task(submitted(harness, body))

    assert (task.status, task.code) == (Status.REJECTED, code)
    assert copies(harness) == []


def test_an_upload_that_must_not_be_read_waits(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise UploadForbidden("S3 says no")

    monkeypatch.setattr("cutout.convert.Storage.read", forbidden)

    task = harness.task(submitted(harness, HEIC))

    assert (task.status, task.code) == (Status.QUEUED, "upload_forbidden")


def test_without_conversion_they_are_rejected(harness: PipelineHarness) -> None:
    task = harness.task(submitted(harness, HEIC, convert_function=""))

    assert (task.status, task.code) == (Status.REJECTED, "unsupported_format")


def test_a_photo_that_waits_is_converted_once(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = httpx.Response(429, json={"code": 429, "message": ""})
    upload = submitted(harness, HEIC, busy)
    monkeypatch.setattr("cutout.convert.upright", None)

    harness.pass_time(60)
    harness.answers = [accepted()]
    harness.submitter().wake(upload.task_id)

    assert harness.task(upload).status is Status.PROCESSING


def test_an_interrupted_conversion_is_tried_again_and_nothing_is_lost(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("cutout.convert.upright", interrupted)
        upload = submitted(harness, HEIC)
    waiting = harness.task(upload)
    assert (waiting.status, waiting.code) == (Status.QUEUED, "conversion_interrupted")
    assert waiting.attempt == 0

    harness.pass_time(60)
    harness.answers = [accepted()]
    harness.submitter().wake(upload.task_id)

    assert harness.task(upload).status is Status.PROCESSING


def test_for_ten_minutes_an_interruption_is_taken_for_an_accident(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutout.convert.upright", interrupted)
    upload = submitted(harness, HEIC)

    harness.pass_time(599)
    harness.submitter().wake(upload.task_id)

    assert harness.task(upload).status is Status.QUEUED


def test_after_a_long_wait_the_first_interruption_is_an_accident_too(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(harness.storage, "open", unavailable)
        upload = submitted(harness, HEIC)
    monkeypatch.setattr("cutout.convert.upright", interrupted)

    for status in (Status.QUEUED, Status.REJECTED):
        harness.pass_time(3600)
        harness.submitter().wake(upload.task_id)
        assert harness.task(upload).status is status


def test_a_service_that_fails_the_convert_function_is_not_the_images_fault(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("cutout.convert.Storage.read", unavailable)
        upload = submitted(harness, HEIC)
        for _ in range(3):
            harness.pass_time(3600)
            harness.submitter().wake(upload.task_id)
        task = harness.task(upload)
    assert (task.status, task.code) == (Status.QUEUED, "service_error")

    harness.answers = [accepted()]
    harness.submitter().wake(upload.task_id)
    assert harness.task(upload).status is Status.PROCESSING


def test_what_interrupts_every_conversion_is_rejected_in_the_end(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutout.convert.upright", interrupted)
    upload = submitted(harness, HEIC)

    harness.pass_time(600)
    harness.submitter().wake(upload.task_id)

    task = harness.task(upload)
    assert (task.status, task.code) == (Status.REJECTED, "conversion_failed")
    assert "ConvertMemoryMegabytes" in str(task.reason)


def interrupted(*_: object) -> None:
    raise MemoryError


def unavailable(*_: object) -> None:
    raise ServiceError("S3 was away")

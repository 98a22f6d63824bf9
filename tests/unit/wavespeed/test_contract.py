from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cutout.wavespeed.contract import Prediction, PredictionStatus, SubmitRequest
from cutout_local.wavespeed.contract import Envelope

ID = "0123456789abcdef0123456789abcdef"


def parsed(**fields: Any) -> Prediction:
    return Prediction.model_validate({"id": ID, "status": "completed"} | fields)


def test_the_model_pages_answer_is_read_whole() -> None:
    envelope = Envelope[Prediction].model_validate(
        {
            "code": 200,
            "message": "success",
            "data": {
                "id": ID,
                "model": "wavespeed-ai/image-background-remover",
                "outputs": ["https://cdn.test/out.png"],
                "urls": {"get": f"https://api.wavespeed.ai/api/v3/predictions/{ID}/result"},
                "has_nsfw_contents": [False],
                "status": "completed",
                "created_at": "2026-09-14T08:15:02.123Z",
                "error": "",
                "timings": {"inference": 2345},
            },
        }
    )
    assert envelope.data
    assert envelope.data.outputs == ["https://cdn.test/out.png"]
    assert envelope.data.urls.get.endswith(f"{ID}/result")
    assert envelope.data.has_nsfw_contents == [False]
    assert envelope.data.created_at == datetime(2026, 9, 14, 8, 15, 2, 123_000, UTC)
    assert envelope.data.timings.inference == 2345


def test_what_is_missing_reads_as_empty() -> None:
    bare = parsed()
    assert (bare.outputs, bare.has_nsfw_contents, bare.error) == ([], [], "")
    assert (bare.code, bare.created_at, bare.timings.inference) == (None, None, 0)


def test_nulls_read_as_empty() -> None:
    names = ["outputs", "urls", "has_nsfw_contents", "created_at", "error", "code", "timings"]
    assert parsed(**dict.fromkeys(names)) == parsed()


def test_what_is_unknown_is_ignored() -> None:
    assert parsed(executionTime=12, input={"image": "x"}, surprise=[{}]) == parsed()


@pytest.mark.parametrize(
    ("outputs", "read"),
    [
        (["https://a/1.png", "https://a/2.png"], ["https://a/1.png", "https://a/2.png"]),
        ([{"url": "https://a/1.png", "type": "image"}], ["https://a/1.png"]),
        ([], []),
        (["iVBORw0KGgo="], ["iVBORw0KGgo="]),
    ],
)
def test_outputs_may_be_objects(outputs: Any, read: list[str]) -> None:
    assert parsed(outputs=outputs).outputs == read


@pytest.mark.parametrize(
    ("error", "read"),
    [
        ("", ""),
        ("too dark", "too dark"),
        ({"message": "too dark", "code": 1401}, "too dark"),
        ({"error": "too dark"}, "too dark"),
        ({"reason": 7}, "{'reason': 7}"),
    ],
)
def test_errors_may_be_objects(error: Any, read: str) -> None:
    assert parsed(error=error).error == read


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ("created", False),
        ("processing", False),
        ("completed", True),
        ("failed", True),
        ("cancelled", True),
        ("timeout", True),
        ("deleted", True),
        ("queued", False),
        ("", False),
    ],
)
def test_a_status_says_whether_the_task_has_ended(status: str, ended: bool) -> None:
    assert parsed(status=status).status.ended is ended


@given(st.text())
def test_a_status_nobody_knows_has_not_ended(status: str) -> None:
    known = {member.value for member in PredictionStatus}
    if status not in known:
        assert parsed(status=status).status is PredictionStatus.UNKNOWN


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-09-14T08:15:02Z", 0),
        ("2026-09-14T08:15:02.123Z", 123_000),
        ("2026-09-14T08:15:02.123456Z", 123_456),
        ("2026-09-14T08:15:02.123456789Z", 123_456),
        ("2026-09-14T10:15:02.123456789+02:00", 123_456),
        ("2026-09-14T08:15:02", 0),
    ],
)
def test_dates_come_in_any_precision_and_read_as_utc(text: str, microsecond: int) -> None:
    assert parsed(created_at=text).created_at == datetime(2026, 9, 14, 8, 15, 2, microsecond, UTC)


@pytest.mark.parametrize(("inference", "read"), [(0, 0), (1234, 1234), (1234.6, 1235), (None, 0)])
def test_timings_are_whole_milliseconds(inference: float | None, read: int) -> None:
    assert parsed(timings={"inference": inference}).timings.inference == read


@pytest.mark.parametrize("body", [{"status": "created"}, {"id": ID}, {"id": None, "status": "x"}])
def test_a_prediction_has_an_id_and_a_status(body: Any) -> None:
    with pytest.raises(ValidationError):
        Prediction.model_validate(body)


@pytest.mark.parametrize("odd", ["", "..", "a/b", "a b", "a\n", "ü", "a?b", "x" * 129, 7, ["a"]])
def test_an_id_is_one_plain_word(odd: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        parsed(id=odd)
    assert "input_value" not in str(caught.value)


def test_an_envelope_may_lack_everything_but_its_data() -> None:
    read = Envelope[Prediction].model_validate({"data": {"id": ID, "status": "created"}})
    assert (read.code, read.message) == (200, "")
    assert read.data == parsed(status="created")


def test_an_envelope_may_hold_null() -> None:
    assert Envelope[Prediction].model_validate({"code": 500, "data": None}).data is None


def test_a_submit_asks_for_a_url_by_default() -> None:
    assert SubmitRequest(image="https://a/b.jpg").model_dump() == {
        "image": "https://a/b.jpg",
        "enable_base64_output": False,
        "enable_sync_mode": False,
    }

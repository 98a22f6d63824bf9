from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from cutout.naming import OutputNaming
from cutout.settings import PollSettings, SubmitSettings

VENDOR = {
    "WAVESPEED_BASE_URL": "https://api.wavespeed.ai",
    "MODEL_ID": "wavespeed-ai/image-background-remover",
    "API_KEY_SECRET": "cutout/wavespeed-api-key",
}
SUBMIT = VENDOR | {
    "TASKS_TABLE": "tasks",
    "STATE_MACHINE_ARN": "arn:aws:states:eu-central-1:111122223333:stateMachine:cutout",
    "UPLOAD_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/111122223333/uploads",
    "EVENT_BUS": "default",
    "OUTPUT_BUCKET": "pictures-out",
    "OUTPUT_PREFIX": "",
    "OUTPUT_NAMING": "append",
    "MAX_UPLOAD_MEGABYTES": "50",
    "MAX_MEGAPIXELS": "50",
    "PRESIGN_SECONDS": "3600",
    "TASK_RETENTION_DAYS": "90",
    "LEASE_SECONDS": "180",
}
POLL = VENDOR | {"TASKS_TABLE": "tasks", "DEADLINE_SECONDS": "1800", "MAX_OUTPUT_MEGABYTES": "200"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SUBMIT | POLL:
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_submit_reads_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SUBMIT)
    settings = SubmitSettings()
    assert settings.output_naming is OutputNaming.APPEND
    assert settings.output_prefix == ""
    assert settings.max_upload_megabytes == 50


def test_poll_reads_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, POLL)
    settings = PollSettings()
    assert settings.deadline_seconds == 1800
    assert settings.max_output_megabytes == 200


def errors_of(kind: type[SubmitSettings | PollSettings], name: str) -> list[tuple[str | int, ...]]:
    with pytest.raises(ValidationError) as caught:
        kind()
    assert name.lower() in str(caught.value)
    return [error["loc"] for error in caught.value.errors()]


@pytest.mark.parametrize("name", SUBMIT)
def test_submit_names_a_missing_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_all(monkeypatch, {other: SUBMIT[other] for other in SUBMIT if other != name})
    assert errors_of(SubmitSettings, name) == [(name.lower(),)]


@pytest.mark.parametrize("name", POLL)
def test_poll_names_a_missing_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_all(monkeypatch, {other: POLL[other] for other in POLL if other != name})
    assert errors_of(PollSettings, name) == [(name.lower(),)]


@pytest.mark.parametrize(
    ("name", "value"), [("OUTPUT_NAMING", "rename"), ("LEASE_SECONDS", "3 minutes")]
)
def test_a_bad_value_is_an_error_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    set_all(monkeypatch, SUBMIT | {name: value})
    assert errors_of(SubmitSettings, name) == [(name.lower(),)]

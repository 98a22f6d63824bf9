from collections.abc import Mapping
from decimal import Decimal

import pytest
from pydantic import ValidationError

from cutout.domain.naming import OutputNaming
from cutout.domain.tasks import OnUncertain
from cutout.settings import PollSettings, Settings, SubmitSettings, WebhookSettings

COMMON = {
    "WAVESPEED_BASE_URL": "https://api.wavespeed.ai",
    "API_KEY_SECRET": "cutout/wavespeed-api-key",
    "TASKS_TABLE": "tasks",
}
MACHINE = {"STATE_MACHINE_ARN": "arn:aws:states:eu-central-1:111122223333:stateMachine:cutout"}
FALLBACK = {"WEBHOOK_FALLBACK_SECONDS": "60"}
SUBMIT = (
    COMMON
    | MACHINE
    | FALLBACK
    | {
        "UPLOAD_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/111122223333/uploads",
        "EVENT_BUS": "default",
        "OUTPUT_BUCKET": "images-out",
        "OUTPUT_PREFIX": "",
        "OUTPUT_NAMING": "append",
        "MODEL_ID": "wavespeed-ai/image-background-remover",
        "ALLOWED_MODELS": "wavespeed-ai/feynobg,acme/cutter",
        "SYNC_MODE": "false",
        "BASE64_OUTPUT": "true",
        "WEBHOOK_URL": "",
        "REUSE_RESULTS": "false",
        "ON_UNCERTAIN": "hold",
        "UNCERTAIN_GRACE_SECONDS": "600",
        "KEY_IS_DEDICATED": "false",
        "MAX_UPLOAD_MEGABYTES": "50",
        "MAX_MEGAPIXELS": "50",
        "PRESIGN_SECONDS": "3600",
        "TASK_RETENTION_DAYS": "90",
        "LEASE_SECONDS": "180",
        "IMAGES_PER_MINUTE": "10",
        "DAILY_BUDGET": "2.50",
        "PRICE_PER_IMAGE": "0.004",
        "CONVERT_FUNCTION": "convert",
    }
)
POLL = (
    COMMON
    | FALLBACK
    | {
        "DEADLINE_SECONDS": "1800",
        "LOCK_SECONDS": "330",
        "EVENT_BUS": "default",
        "MAX_OUTPUT_MEGABYTES": "200",
        "MAX_MEGAPIXELS": "50",
        "OPAQUE_CUTOUT": "save",
        "REUSE_RESULTS": "true",
        "ERASE_AT_VENDOR": "true",
        "CONVERTED_BUCKET": "converted",
    }
)
WEBHOOK = COMMON | MACHINE
CLOCK = WEBHOOK | {
    "UPLOAD_QUEUE_URL": SUBMIT["UPLOAD_QUEUE_URL"],
    "EVENT_BUS": "default",
    "LEASE_SECONDS": "180",
    "IMAGES_PER_MINUTE": "10",
    "DAILY_BUDGET": "2.50",
    "DEADLINE_SECONDS": "1800",
    "MODEL_ID": "wavespeed-ai/image-background-remover",
    "LOW_BALANCE": "5",
}
BACKFILL = {
    "TASKS_TABLE": "tasks",
    "UPLOAD_QUEUE_URL": SUBMIT["UPLOAD_QUEUE_URL"],
    "INPUT_BUCKET": "uploads",
    "INPUT_PREFIX": "",
    "OUTPUT_BUCKET": "cutouts",
    "OUTPUT_PREFIX": "",
    "OUTPUT_NAMING": "append",
}
RECONCILE = (
    {name: value for name, value in BACKFILL.items() if name != "UPLOAD_QUEUE_URL"}
    | COMMON
    | {"MODEL_ID": SUBMIT["MODEL_ID"], "ALLOWED_MODELS": "", "KEY_IS_DEDICATED": "true"}
)
BACKSTOP = {"TASKS_TABLE": "tasks", "EVENT_BUS": "default"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SUBMIT | POLL:
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_submit_reads_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SUBMIT)
    settings = SubmitSettings.from_environment()
    assert settings.output_naming is OutputNaming.APPEND
    assert settings.output_prefix == ""
    assert settings.max_upload_megabytes == 50
    assert (settings.sync_mode, settings.base64_output) == (False, True)
    assert settings.on_uncertain is OnUncertain.HOLD
    assert settings.webhook_url == ""
    assert (settings.daily_budget, settings.price_per_image) == (Decimal("2.5"), Decimal("0.004"))


@pytest.mark.parametrize(
    ("joined", "models"),
    [("", set()), ("a/b", {"a/b"}), ("a/b,c/d,a/b", {"a/b", "c/d"}), ("a/b,", {"a/b"})],
)
def test_a_list_parameter_is_read_as_the_template_joins_it(
    monkeypatch: pytest.MonkeyPatch, joined: str, models: set[str]
) -> None:
    set_all(monkeypatch, SUBMIT | {"ALLOWED_MODELS": joined})
    assert SubmitSettings.from_environment().allowed_models == models


def test_poll_reads_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, POLL)
    settings = PollSettings.from_environment()
    assert settings.deadline_seconds == 1800
    assert settings.max_output_megabytes == 200
    assert settings.webhook_fallback_seconds == 60


def test_the_webhook_reads_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, WEBHOOK)
    settings = WebhookSettings.from_environment()
    assert settings.wavespeed_base_url == "https://api.wavespeed.ai"
    assert settings.state_machine_arn == MACHINE["STATE_MACHINE_ARN"]


def errors_of(kind: type[Settings], name: str) -> list[tuple[str | int, ...]]:
    with pytest.raises(ValidationError) as caught:
        kind.from_environment()
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


@pytest.mark.parametrize("name", WEBHOOK)
def test_the_webhook_names_a_missing_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_all(monkeypatch, {other: WEBHOOK[other] for other in WEBHOOK if other != name})
    assert errors_of(WebhookSettings, name) == [(name.lower(),)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OUTPUT_NAMING", "rename"),
        ("LEASE_SECONDS", "3 minutes"),
        ("SYNC_MODE", "sometimes"),
        ("ON_UNCERTAIN", "pray"),
    ],
)
def test_a_bad_value_is_an_error_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    set_all(monkeypatch, SUBMIT | {name: value})
    assert errors_of(SubmitSettings, name) == [(name.lower(),)]


@pytest.mark.parametrize("url", ["http://127.0.0.1:5567", "http://localhost:1", "http://[::1]:1"])
def test_the_vendor_may_be_reached_without_tls_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for name, value in (POLL | {"WAVESPEED_BASE_URL": url}).items():
        monkeypatch.setenv(name, value)
    assert PollSettings.from_environment().wavespeed_base_url == url


@pytest.mark.parametrize(
    "url",
    ["http://api.wavespeed.ai", "http://127.0.0.1.evil.test", "http://localhost@evil.test", "api"],
)
def test_the_key_never_leaves_this_machine_in_clear(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for name, value in (POLL | {"WAVESPEED_BASE_URL": url}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="must begin with https"):
        PollSettings.from_environment()

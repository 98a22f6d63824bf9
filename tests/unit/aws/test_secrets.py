from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import boto3
import pytest
from aws_lambda_powertools.utilities.parameters import base

from cutout.aws.secrets import ApiKey
from cutout.domain.errors import ApiKeyUnavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

NAME = "cutout/wavespeed-api-key"


@pytest.fixture
def client(aws: boto3.Session) -> "SecretsManagerClient":
    return aws.client("secretsmanager")


@pytest.fixture
def put(client: "SecretsManagerClient") -> Callable[[str], str]:
    def create(value: str) -> str:
        return client.create_secret(Name=NAME, SecretString=value)["ARN"]

    return create


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Moves the clock that Powertools' cache looks at."""
    passed = timedelta()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override] # noqa: ARG003
            return datetime(2026, 9, 14) + passed  # noqa: DTZ001 (as Powertools has it)

    def advance(time: timedelta) -> None:
        nonlocal passed
        passed += time

    monkeypatch.setattr(base, "datetime", Clock)
    return advance


def test_the_key_is_read_by_the_secrets_name(
    client: "SecretsManagerClient", put: Callable[[str], str]
) -> None:
    put("wsk-1")
    assert ApiKey(client, NAME)() == "wsk-1"


def test_the_key_is_read_by_the_secrets_arn(
    client: "SecretsManagerClient", put: Callable[[str], str]
) -> None:
    assert ApiKey(client, put("wsk-1"))() == "wsk-1"


def test_white_space_around_the_key_is_dropped(
    client: "SecretsManagerClient", put: Callable[[str], str]
) -> None:
    put(" wsk-1\r\n")
    assert ApiKey(client, NAME)() == "wsk-1"


@pytest.mark.parametrize("value", [" \n", "two words", "line\nbreak", "schlüssel", "wsk\x00"])
def test_a_secret_that_no_header_can_carry_is_no_key(
    client: "SecretsManagerClient", put: Callable[[str], str], value: str
) -> None:
    put(value)
    with pytest.raises(ApiKeyUnavailable, match="holds no API key") as caught:
        ApiKey(client, NAME)()
    assert value.strip() == "" or value not in str(caught.value)


def test_a_binary_secret_is_no_key(client: "SecretsManagerClient") -> None:
    client.create_secret(Name=NAME, SecretBinary=b"wsk-1")
    with pytest.raises(ApiKeyUnavailable, match="as plain text"):
        ApiKey(client, NAME)()


def test_a_secret_that_is_not_there_is_named(client: "SecretsManagerClient") -> None:
    with pytest.raises(ApiKeyUnavailable, match=NAME):
        ApiKey(client, NAME)()


def test_the_key_is_cached_for_five_minutes(
    client: "SecretsManagerClient",
    put: Callable[[str], str],
    pass_time: Callable[[timedelta], None],
) -> None:
    put("old")
    key = ApiKey(client, NAME)
    assert key() == "old"
    client.put_secret_value(SecretId=NAME, SecretString="new")
    pass_time(timedelta(seconds=299))
    assert key() == "old"
    pass_time(timedelta(seconds=2))
    assert key() == "new"


@pytest.mark.parametrize("value", ['{"key": "wsk-1"}', '"wsk-1"', '["wsk-1"]', ' {"a":1}\n'])
def test_a_key_that_the_console_made_json_of_is_named(
    client: "SecretsManagerClient", put: Callable[[str], str], value: str
) -> None:
    put(value)
    with pytest.raises(ApiKeyUnavailable, match="holds JSON; put the key itself") as caught:
        ApiKey(client, NAME)()
    assert "wsk-1" not in str(caught.value)


def test_a_rotated_key_is_read_at_once_by_who_was_refused(
    client: "SecretsManagerClient", put: Callable[[str], str]
) -> None:
    put("wsk-1")
    key = ApiKey(client, NAME)
    assert key() == "wsk-1"
    client.put_secret_value(SecretId=NAME, SecretString="wsk-2")

    assert key() == "wsk-1"
    assert key.fresh() == "wsk-2"
    assert key() == "wsk-2"


def test_a_key_that_stays_wrong_is_read_once_a_minute(
    client: "SecretsManagerClient", put: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("wsk-1")
    now = 0.0
    monkeypatch.setattr("cutout.aws.secrets.time", SimpleNamespace(monotonic=lambda: now))
    key = ApiKey(client, NAME)
    key.fresh()
    client.put_secret_value(SecretId=NAME, SecretString="wsk-2")

    now = 59
    assert key.fresh() == "wsk-1"
    now = 60
    assert key.fresh() == "wsk-2"

"""AWS that fails as it was asked to."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cutout_local.aws import AwsFaults, Call, Fault, FaultRule, LocalAws
from tests.local_aws.support import PARAMETERS, SECRETS, TEMPLATE

THROTTLED = FaultRule("dynamodb", Fault("ThrottlingException", 400), 1, frozenset({"PutItem"}))
ANSWER_LOST = FaultRule("dynamodb", Fault("InternalServerError", 500, carried_out=True), 1)
SLOW_DOWN = FaultRule("s3", Fault("SlowDown", 503), 1)


@pytest.fixture(scope="module")
def faults() -> AwsFaults:
    return AwsFaults(1, [])


@pytest.fixture(scope="module")
def aws(faults: AwsFaults) -> Iterator[LocalAws]:
    with LocalAws(TEMPLATE, PARAMETERS, secrets=SECRETS, on_call=faults) as aws:
        yield aws


def client(aws: LocalAws, service: str, attempts: int = 1) -> Any:
    """A client that is not the operator's, whose calls are spared."""
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts})
    return boto3.client(  # type: ignore[call-overload]
        service,
        region_name=aws.region,
        endpoint_url=aws.endpoint_url,
        aws_access_key_id="Worker",
        aws_secret_access_key="test",
        config=config,
    )


def put(aws: LocalAws, key: str, attempts: int = 1) -> None:
    item = {"id": {"S": key}}
    client(aws, "dynamodb", attempts).put_item(TableName=aws.outputs["Table"], Item=item)


def is_there(aws: LocalAws, key: str) -> bool:
    answer = aws.client("dynamodb").get_item(TableName=aws.outputs["Table"], Key={"id": {"S": key}})
    return "Item" in answer


@pytest.mark.parametrize(
    ("rule", "code", "done"),
    [(THROTTLED, "ThrottlingException", False), (ANSWER_LOST, "InternalServerError", True)],
)
def test_a_call_that_fails_was_carried_out_or_not(
    aws: LocalAws, faults: AwsFaults, rule: FaultRule, code: str, done: bool
) -> None:
    faults.rules = [rule]

    with pytest.raises(ClientError) as error:
        put(aws, code)

    faults.rules = []
    assert error.value.response["Error"]["Code"] == code
    assert is_there(aws, code) is done


def test_s3_answers_in_its_own_form_and_a_presigned_url_still_works(
    aws: LocalAws, faults: AwsFaults
) -> None:
    place = {"Bucket": aws.outputs["Bucket"], "Key": "in/slow"}
    aws.client("s3").put_object(**place, Body=b"x" * 100_000)
    faults.rules = [SLOW_DOWN]
    s3 = client(aws, "s3")

    with pytest.raises(ClientError) as error:
        s3.put_object(**place, Body=b"y" * 100_000)
    url = s3.generate_presigned_url("get_object", Params=place)

    assert error.value.response["Error"]["Code"] == "SlowDown"
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"x" * 100_000


def test_an_sdk_tries_again_what_fails_once(aws: LocalAws, faults: AwsFaults) -> None:
    faults.rules = [FaultRule("dynamodb", THROTTLED.fault, 0.5)]

    for number in range(5):
        put(aws, f"again {number}", attempts=20)

    assert faults.struck["dynamodb ThrottlingException"]
    assert is_there(aws, "again 4")


def strikes(seed: int, most: int = 1) -> list[bool]:
    faults = AwsFaults(seed, [FaultRule("s3", SLOW_DOWN.fault, 0.2, most=most)])
    return [faults(Call("Worker", "s3", "PutObject")) is not None for _ in range(200)]


def test_the_seed_decides_which_calls_fail() -> None:
    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)
    assert 20 <= sum(strikes(1)) <= 60


def test_failures_come_in_rows() -> None:
    assert sum(strikes(1, most=6)) > 1.5 * sum(strikes(1))


def test_of_two_writers_with_the_same_condition_one_wins(aws: LocalAws, faults: AwsFaults) -> None:
    faults.rules = []
    table, dynamodb, together = aws.outputs["Table"], aws.client("dynamodb"), Barrier(4)

    def claim(key: str) -> bool:
        together.wait()
        try:
            dynamodb.put_item(
                TableName=table,
                Item={"id": {"S": key}},
                ConditionExpression="attribute_not_exists(id)",
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            rounds = [list(pool.map(claim, [f"{number}"] * 4)) for number in range(25)]
    finally:
        sys.setswitchinterval(before)
    assert [sum(won) for won in rounds] == [1] * 25

"""DynamoDB: one of many writers wins."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.support import Account

CLAIM = {
    "UpdateExpression": "SET winner = :me",
    "ConditionExpression": "attribute_not_exists(winner)",
}
WRITERS = 20


def claim(aws: Account, key: str, me: str) -> bool:
    try:
        aws.dynamodb.update_item(
            TableName=aws.outputs["Table"],
            Key={"id": {"S": key}},
            ExpressionAttributeValues={":me": {"S": me}},
            **CLAIM,
        )
    except aws.dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def test_of_many_conditional_writers_exactly_one_wins(aws: Account) -> None:
    together = Barrier(WRITERS)

    def race(writer: int) -> list[bool]:
        together.wait()
        return [claim(aws, f"{race_id}-{turn}", str(writer)) for turn in range(5)]

    race_id = uuid4().hex
    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(race, range(WRITERS)))
    assert [sum(turn) for turn in zip(*won, strict=True)] == [1] * 5


def test_of_executions_and_a_client_exactly_one_wins(aws: Account) -> None:
    state = aws.update(
        "{% $states.input.key %}",
        {**CLAIM, "ExpressionAttributeValues": {":me": {"S": "execution"}}},
        End=True,
    )
    machine = aws.machine({"Claim": state})

    def race(key: str) -> tuple[bool, dict[str, Any]]:
        execution = aws.start(machine, {"key": key})
        while "TaskScheduled" not in aws.history(execution):
            pass
        return claim(aws, key, "client"), aws.ended(execution)

    keys = [uuid4().hex for _ in range(10)]
    with ThreadPoolExecutor(5) as pool:
        for key, (won, execution) in zip(keys, pool.map(race, keys), strict=True):
            assert execution["status"] == ("FAILED" if won else "SUCCEEDED")
            assert aws.item(key)["winner"]["S"] == ("client" if won else "execution")


def test_a_refused_write_tells_what_is_there(aws: Account) -> None:
    key = uuid4().hex
    change = {
        "TableName": aws.outputs["Table"],
        "Key": {"id": {"S": key}},
        "UpdateExpression": "SET kind = :new ADD tries :one",
        "ConditionExpression": "attribute_not_exists(kind) OR kind = :old",
        "ExpressionAttributeValues": {
            ":new": {"S": "a"},
            ":old": {"S": "x"},
            ":one": {"N": "1"},
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        "ReturnValues": "ALL_NEW",
    }
    assert aws.dynamodb.update_item(**change)["Attributes"]["tries"] == {"N": "1"}
    with pytest.raises(ClientError) as refused:
        aws.dynamodb.update_item(**change)
    answer = json.loads(json.dumps(refused.value.response))
    assert answer["Error"]["Code"] == "ConditionalCheckFailedException"
    assert answer["Item"]["tries"] == {"N": "1"}

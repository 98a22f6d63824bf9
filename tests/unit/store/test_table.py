from decimal import Decimal
from typing import Any

import pytest

from cutout.domain.errors import ConditionFailed, ServiceError
from cutout.store.table import Table
from tests.support.harness import PipelineHarness


def test_plain_values_read_back_as_they_were_written(harness: PipelineHarness) -> None:
    item = {"task_id": "t", "text": "ü", "count": 3, "usd": Decimal("0.01"), "map": {"a": "b"}}

    harness.table.put_new(item)

    assert harness.table.get("t") == item


def test_what_is_not_there_is_none(harness: PipelineHarness) -> None:
    assert harness.table.get("t") is None


def test_a_read_sees_what_was_written_before(harness: PipelineHarness) -> None:
    asked: list[dict[str, Any]] = []
    harness.dynamodb.meta.events.register(
        "provide-client-params.dynamodb.GetItem", lambda params, **_: asked.append(params)
    )

    harness.table.get("nothing")

    assert asked[0]["ConsistentRead"] is True


def test_an_item_is_put_once(harness: PipelineHarness) -> None:
    harness.table.put_new({"task_id": "t", "count": 1})

    with pytest.raises(ConditionFailed, match="the condition of a write to t failed"):
        harness.table.put_new({"task_id": "t", "count": 2})
    assert harness.table.get("t") == {"task_id": "t", "count": 1}


def test_an_update_makes_the_item_and_returns_all_of_it(harness: PipelineHarness) -> None:
    harness.table.update("t", "SET a = :a", values={":a": 1})

    assert harness.table.update("t", "SET b = :b", values={":b": "x"}) == {
        "task_id": "t",
        "a": 1,
        "b": "x",
    }


def test_an_update_whose_condition_fails_changes_nothing(harness: PipelineHarness) -> None:
    harness.table.update("t", "SET a = :a", values={":a": 1})

    with pytest.raises(ConditionFailed):
        harness.table.update(
            "t",
            "SET #a = :a",
            condition="#a > :a",
            values={":a": 2},
            names={"#a": "a"},
        )
    assert harness.table.get("t") == {"task_id": "t", "a": 1}


def test_trouble_of_the_service_is_told_as_such(harness: PipelineHarness) -> None:
    missing = Table(harness.dynamodb, "no-such-table")

    with pytest.raises(ServiceError, match="DynamoDB failed on t"):
        missing.get("t")
    with pytest.raises(ServiceError):
        missing.put_new({"task_id": "t"})
    with pytest.raises(ServiceError):
        missing.update("t", "SET a = :a", values={":a": 1})

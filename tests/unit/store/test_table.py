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
    harness.on(
        harness.dynamodb,
        "provide-client-params.dynamodb.GetItem",
        lambda params, **_: asked.append(params),
    )

    harness.table.get("nothing")

    assert asked[0]["ConsistentRead"] is True


def test_an_item_is_put_once(harness: PipelineHarness) -> None:
    harness.table.put_new({"task_id": "t", "count": 1})

    with pytest.raises(ConditionFailed, match="the condition of a write to t failed"):
        harness.table.put_new({"task_id": "t", "count": 2})
    assert harness.table.get("t") == {"task_id": "t", "count": 1}


def test_two_items_are_put_together_or_not_at_all(harness: PipelineHarness) -> None:
    one, other = {"task_id": "one", "count": 1}, {"task_id": "other", "count": 2}
    harness.table.put_new(other)

    for first, second in ((one, other), (other, one)):
        with pytest.raises(ConditionFailed, match=r"a write to (one|other) failed"):
            harness.table.put_both_new(first, second)
    assert harness.table.get("one") is None

    third = {"task_id": "third", "text": "ü"}
    harness.table.put_both_new(one, third)
    assert [harness.table.get(key) for key in ("one", "third")] == [one, third]


def test_two_items_that_somebody_else_is_writing_are_tried_again_later(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conflict(**_: Any) -> None:
        raise harness.dynamodb.exceptions.TransactionCanceledException(
            {
                "Error": {"Code": "TransactionCanceledException", "Message": ""},
                "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
            },
            "TransactWriteItems",
        )

    monkeypatch.setattr(harness.dynamodb, "transact_write_items", conflict)

    with pytest.raises(ServiceError, match="DynamoDB failed on one"):
        harness.table.put_both_new({"task_id": "one"}, {"task_id": "other"})


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


def test_an_index_is_read_to_its_last_page(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (3, 1, 4, 2):
        item = {"task_id": f"t{number}", "open_status": "queued", "due_at": f"{number}"}
        harness.table.put_new(item)
    harness.table.put_new({"task_id": "other", "open_status": "failed", "due_at": "1"})
    query, pages = harness.dynamodb.query, list[None]()

    def one_a_page(**asked: Any) -> Any:
        pages.append(None)
        return query(**asked, Limit=1)

    monkeypatch.setattr(harness.dynamodb, "query", one_a_page)
    key = ("open_status", "queued")
    found = harness.table.query_until("by-status", key, ("due_at", "3"))

    assert next(found)["task_id"] == "t1"
    assert len(pages) == 1  # the next is read when it is needed
    assert [item["task_id"] for item in found] == ["t2", "t3"]
    assert harness.table.count("by-status", *key, most_pages=9) == 4
    assert harness.table.count("by-status", *key, most_pages=3) == 3


def test_many_items_are_read_in_batches_and_what_was_not_read_is_asked_for_again(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [{"task_id": f"t{number}", "count": number} for number in (0, 99, 149)]
    for item in there:
        harness.table.put_new(item)
    once, batches = harness.dynamodb.batch_get_item, list[int]()

    def at_most_sixty(RequestItems: Any) -> Any:  # noqa: N803
        (name, asked), *_ = RequestItems.items()
        assert asked["ConsistentRead"] is True
        batches.append(len(asked["Keys"]))
        answer = once(RequestItems={name: asked | {"Keys": asked["Keys"][:60]}})
        left = asked["Keys"][60:]
        return answer | {"UnprocessedKeys": {name: asked | {"Keys": left}} if left else {}}

    monkeypatch.setattr(harness.dynamodb, "batch_get_item", at_most_sixty)
    keys = [f"t{number}" for number in range(150)]

    assert harness.table.existing([*keys, "t0"]) == {"t0", "t99", "t149"}
    assert batches[0] == 100  # DynamoDB's limit
    assert sorted(harness.table.get_many(keys), key=lambda item: item["count"]) == there
    assert harness.table.get_many([]) == []


def test_trouble_of_the_service_is_told_as_such(harness: PipelineHarness) -> None:
    missing = Table(harness.dynamodb, "no-such-table")

    with pytest.raises(ServiceError, match="DynamoDB failed on t"):
        missing.get("t")
    with pytest.raises(ServiceError):
        missing.put_new({"task_id": "t"})
    with pytest.raises(ServiceError, match="DynamoDB failed on queued"):
        next(missing.query_until("by-status", ("open_status", "queued"), ("due_at", "3")))
    with pytest.raises(ServiceError):
        missing.update("t", "SET a = :a", values={":a": 1})

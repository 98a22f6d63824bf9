"""https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html"""

from __future__ import annotations

import pytest

from cutout_local.aws.event_sources import failed_messages
from cutout_local.aws.runtime_api import Answer

IDS = ["a", "b"]


def failures(payload: str, *, failed: bool = False, partial: bool = True) -> set[str]:
    return failed_messages(Answer(payload.encode(), failed), IDS, partial=partial)


@pytest.mark.parametrize(
    "payload",
    [
        "null",
        "{}",
        '{"batchItemFailures": []}',
        '{"batchItemFailures": null}',
    ],
)
def test_no_failures_is_a_batch_that_succeeded(payload: str) -> None:
    assert failures(payload) == set()


def test_only_the_messages_that_are_named_stay() -> None:
    assert failures('{"batchItemFailures": [{"itemIdentifier": "b"}]}') == {"b"}


@pytest.mark.parametrize(
    "payload",
    [
        "not json",
        '"a string"',
        "[1]",
        '{"batchItemFailures": 1}',
        '{"batchItemFailures": ["a"]}',
        '{"batchItemFailures": [{"itemIdentifier": ""}]}',
        '{"batchItemFailures": [{"itemIdentifier": null}]}',
        '{"batchItemFailures": [{"itemIdentifier": ["a"]}]}',
        '{"batchItemFailures": [{"identifier": "a"}]}',
        '{"batchItemFailures": [{"itemIdentifier": "c"}, {"itemIdentifier": "a"}]}',
    ],
)
def test_a_report_that_cannot_be_trusted_keeps_the_whole_batch(payload: str) -> None:
    assert failures(payload) == {"a", "b"}


def test_a_function_that_fails_keeps_the_whole_batch() -> None:
    assert failures('{"errorType": "X"}', failed=True) == {"a", "b"}


def test_without_report_batch_item_failures_the_answer_does_not_matter() -> None:
    assert failures('{"batchItemFailures": [{"itemIdentifier": "a"}]}', partial=False) == set()

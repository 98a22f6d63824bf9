"""What is measured once in a while, and what an operator is told of the vendor."""

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cutout.domain.messages import VendorQuestion
from cutout.domain.tasks import Status
from tests.support import events
from tests.support.harness import MODEL, NOW, PipelineHarness, accepted, answer, refused
from tests.support.images import jpeg
from tests.unit.test_observability import metrics

Metrics = list[tuple[str, dict[str, str], str, float]]


@pytest.fixture
def measured(harness: PipelineHarness, capsys: pytest.CaptureFixture[str]) -> Any:
    """Measure, and tell name, dimensions and value of each metric."""

    def measure(**settings: Any) -> list[tuple[str, dict[str, str], float]]:
        capsys.readouterr()
        harness.meter(**settings).measure()
        found: Metrics = metrics(capsys)
        own = {"service": "cutout-test"}
        return [
            (name, {k: v for k, v in by.items() if k not in own}, n) for _, by, name, n in found
        ]

    return measure


def test_open_tasks_are_counted_by_status(harness: PipelineHarness, measured: Any) -> None:
    submitter = harness.submitter()
    harness.answers = [refused(429), refused(429), accepted(), httpx.ReadTimeout("no answer")]
    for number in range(4):
        submitter.submit(harness.upload(jpeg(), f"{number}.jpg"))

    assert measured() == [
        ("OpenTasks", {"status": "processing"}, 1.0),
        ("OpenTasks", {"status": "queued"}, 2.0),
        ("OpenTasks", {"status": "uncertain"}, 1.0),
    ]


def test_the_oldest_is_who_has_waited_longest_since_he_was_ready(
    harness: PipelineHarness, measured: Any
) -> None:
    submitter = harness.submitter()
    for number in range(2):
        harness.answers = [refused(429)]  # to be sent again in a minute
        submitter.submit(harness.upload(jpeg(), f"{number}.jpg"))
        harness.pass_time(20)
    harness.pass_time(60)

    assert ("OldestWaitSeconds", {}, 40.0) in measured()


def test_the_balance_is_asked_for_only_if_an_alarm_reads_it(
    harness: PipelineHarness, measured: Any
) -> None:
    assert measured() == []
    assert harness.requests == []

    harness.answers = [answer(balance=12.5)]
    assert measured(low_balance="5") == [("VendorBalance", {}, 12.5)]


@pytest.mark.parametrize("reply", [refused(401), refused(429), httpx.ConnectError("gone")])
def test_a_vendor_that_does_not_answer_fails_no_clock(
    harness: PipelineHarness, measured: Any, reply: Any
) -> None:
    harness.answers = [reply]

    assert measured(low_balance="5") == []


def test_an_operator_is_told_balance_and_price(harness: PipelineHarness) -> None:
    harness.answers = [answer(balance=12.5), answer(price=0.01, discounted_price=0.004)]

    told = harness.meter().ask_vendor(VendorQuestion.Detail())

    assert told.model_dump(mode="json") == {
        "balance": "12.5",
        "price": "0.004",
        "listed": None,
        "code": None,
        "reason": None,
    }


@pytest.mark.parametrize(("asked", "listed"), [("p1", True), ("p2", False)])
def test_an_operator_is_told_whether_the_history_has_a_prediction(
    harness: PipelineHarness, asked: str, *, listed: bool
) -> None:
    found = {"id": "p1", "model": MODEL, "status": "created", "outputs": []}
    history = answer(page=1, total=1, items=[found])
    harness.answers = [answer(balance=1), answer(price=0.01), history]

    question = VendorQuestion.Detail(prediction_id=asked, since=NOW - timedelta(seconds=5))
    assert harness.meter().ask_vendor(question).listed is listed
    body = json.loads(harness.requests[-1].content)
    assert (body["model"], body["created_after"]) == (MODEL, "2026-11-20T11:59:55Z")


def test_an_operator_is_told_why_the_vendor_says_nothing(harness: PipelineHarness) -> None:
    harness.answers = [refused(401)]

    told = harness.meter().ask_vendor(VendorQuestion.Detail())

    assert (told.code, told.balance, told.price) == ("unauthorized", None, None)
    assert "put a valid key into the secret" in str(told.reason)


def test_a_tick_of_the_clock_is_no_question() -> None:
    assert VendorQuestion.of(events.load("clock")) is None
    assert VendorQuestion.of({}) is None
    assert VendorQuestion.of(events.load("clock-vendor-question")) == VendorQuestion()


def test_more_pages_than_one_are_counted(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to a bound, for a run of the clock must end."""
    asked: list[Any] = []

    def query(**more: Any) -> dict[str, Any]:
        asked.append(more.get("ExclusiveStartKey"))
        return {"Count": 5, "LastEvaluatedKey": {"after": len(asked)}}

    monkeypatch.setattr(harness.dynamodb, "query", query)

    assert harness.ledger.count(Status.QUEUED) == 500
    assert asked == [None, *({"after": number} for number in range(1, 100))]

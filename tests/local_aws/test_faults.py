"""AWS that fails as it was asked to."""

import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cutout_local.aws.faults import Call, Rule
from tests.local_aws.support import Account
from tests.support.waiting import wait_for


@pytest.fixture
def faulty(aws: Account) -> Iterator[Account]:
    """Faults that end with the test."""
    yield aws
    aws.aws.set_faults([])


def put(aws: Account, key: str, function: str = "Hand") -> tuple[str | None, Any]:
    """Have a function put an item."""
    arguments = {"TableName": aws.outputs["Table"], "Item": {"id": {"S": key}}}
    return aws.invoke(
        function, do="call", service="dynamodb", operation="put_item", arguments=arguments
    )


def rule(**more: Any) -> Rule:
    return Rule(actions=["dynamodb:PutItem"], error="InternalServerError", **more)


@pytest.mark.parametrize("carried_out", [False, True])
def test_a_call_that_fails_was_carried_out_or_not(faulty: Account, carried_out: bool) -> None:
    key = uuid4().hex
    faulty.aws.set_faults([rule(carried_out=carried_out)])
    _, payload = put(faulty, key)
    assert "(InternalServerError)" in payload["errorMessage"]
    assert bool(faulty.item(key)) is carried_out


def test_only_the_caller_and_the_actions_of_a_rule_fail(faulty: Account) -> None:
    hand = faulty.outputs["Hand"]
    faulty.aws.set_faults([rule(caller="*NarrowHand*"), Rule(actions=["s3:*"], caller=hand)])
    assert put(faulty, uuid4().hex)[0] is None
    faulty.aws.set_faults([rule(caller=hand)])
    assert put(faulty, uuid4().hex)[0] == "Unhandled"


@pytest.mark.parametrize("window", [{"begins": 3600}, {"ends": 0}])
def test_a_rule_fires_only_in_its_time(faulty: Account, window: dict[str, float]) -> None:
    faulty.aws.set_faults([rule(**window)])
    assert put(faulty, uuid4().hex)[0] is None
    faulty.aws.set_faults([rule(begins=0, ends=3600)])
    assert put(faulty, uuid4().hex)[0] == "Unhandled"


def test_a_function_that_is_stopped_goes_on_where_it_was(faulty: Account) -> None:
    key, began = uuid4().hex, time.monotonic()
    faulty.aws.set_faults([Rule(actions=["dynamodb:PutItem"], pause=0.3)])
    assert put(faulty, key) == (None, {"status": 200})
    assert time.monotonic() - began > 0.3
    assert faulty.item(key)


def test_a_state_machine_is_a_caller_by_its_name(faulty: Account) -> None:
    key = uuid4().hex
    update = faulty.update(key, {"UpdateExpression": "SET kind = id"}, End=True)
    machine = faulty.machine({"Update": update})
    name = machine.rsplit(":", 1)[1]
    throttled = Rule(actions=["dynamodb:UpdateItem"], error="ThrottlingException", status=400)
    faulty.aws.set_faults([replace(throttled, caller=name)])
    assert faulty.ended(faulty.start(machine))["error"] == "DynamoDb.ThrottlingException"


def test_exactly_the_nth_call_fails(faulty: Account) -> None:
    faulty.aws.set_faults([rule(nth=2)])
    assert [put(faulty, uuid4().hex)[0] for _ in range(3)] == [None, "Unhandled", None]


def test_the_caller_is_killed(faulty: Account) -> None:
    key = uuid4().hex
    faulty.aws.set_faults([rule(kill=True, carried_out=True, nth=1)])
    _, payload = put(faulty, key)
    assert payload["errorType"] == "Runtime.ExitError"
    assert faulty.item(key)
    assert put(faulty, key)[0] is None


def test_an_answer_is_delayed(faulty: Account) -> None:
    faulty.aws.set_faults([rule(delay=0.5, carried_out=True)])
    since = time.monotonic()
    put(faulty, uuid4().hex)
    assert time.monotonic() - since >= 0.5


def test_a_schedule_s_ticks_are_lost(faulty: Account) -> None:
    faulty.aws.set_faults([Rule(actions=["deliver:aws.events"])])
    with pytest.raises(AssertionError):
        faulty.tick(1, seconds=3)
    assert faulty.aws.report().fired[0] >= 2


def test_an_event_is_lost_or_comes_late(faulty: Account) -> None:
    url = faulty.new_queue()
    faulty.listen(url, {"source": ["test.fragile"]})
    lost = Rule(actions=["deliver:test.fragile"], nth=1)
    late = Rule(actions=["deliver:test.fragile"], nth=1, carried_out=True, delay=0.5)
    faulty.aws.set_faults([lost, late])
    for turn in ("lost", "late", "now"):
        faulty.tell("test.fragile", turn=turn)
    bodies = [json.loads(each["Body"]) for each in faulty.receive(url, 2)]
    assert [body["detail"]["turn"] for body in bodies] == ["now", "late"]


def test_executions_are_announced_at_best_effort(faulty: Account) -> None:
    url, machine = faulty.new_queue(), faulty.machine({"Done": {"Type": "Succeed"}})
    detail = {"stateMachineArn": [machine], "status": ["SUCCEEDED"]}
    faulty.listen(url, {"source": ["aws.states"], "detail": detail})
    faulty.aws.set_faults([Rule(actions=["deliver:aws.states"], nth=1)])
    unheard = faulty.start(machine)
    wait_for(lambda: faulty.aws.report().fired.get(0))
    heard = faulty.start(machine)
    (message,) = faulty.receive(url)
    assert json.loads(message["Body"])["detail"]["executionArn"] == heard != unheard


def test_a_bucket_begins_late_to_tell_of_its_objects(faulty: Account) -> None:
    """As in the first minutes after its notifications were turned on."""
    faulty.aws.set_faults([Rule(actions=["deliver:aws.s3"])])
    faulty.put("up/early.jpg")
    wait_for(lambda: faulty.aws.report().fired.get(0))
    faulty.aws.set_faults([])
    faulty.put("up/later.jpg")
    assert [e["detail"]["object"]["key"] for e in faulty.received("Uploads")] == ["up/later.jpg"]


def test_a_short_poll_misses_messages_and_a_long_one_does_not(faulty: Account) -> None:
    url = faulty.new_queue()
    faulty.sqs.send_message(QueueUrl=url, MessageBody="there")
    faulty.aws.set_faults([Rule(actions=["poll:short"])])
    assert "Messages" not in faulty.sqs.receive_message(QueueUrl=url)
    assert faulty.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)["Messages"]


def test_the_report_counts_calls_and_fires(faulty: Account) -> None:
    faulty.aws.set_faults([rule(nth=2)])
    for _ in range(2):
        put(faulty, uuid4().hex)
    faulty.item("any")
    report = faulty.aws.report()
    calls = dict(report.calls)
    assert calls[Call(caller=faulty.outputs["Hand"], action="dynamodb:PutItem")] == 2
    assert calls[Call(caller="root", action="dynamodb:GetItem")] == 1
    assert report.fired == {0: 1}


def test_the_root_user_s_calls_are_spared(faulty: Account) -> None:
    faulty.aws.set_faults([Rule(actions=["*"])])
    key = uuid4().hex
    faulty.put(key, b"spared")
    assert faulty.get(key) == b"spared"


def test_the_seed_decides_which_calls_fail(faulty: Account) -> None:
    def ends(seed: int) -> list[str | None]:
        faulty.aws.set_faults([rule(rate=0.5)], seed)
        return [put(faulty, "seed")[0] for _ in range(6)]

    first = ends(1)
    assert first == ends(1)
    assert 0 < first.count(None) < 6


@pytest.mark.parametrize("what", ["report", "faults", "kill"])
@pytest.mark.parametrize("given", [{}, {"authorization": "Bearer wrong"}])
def test_the_control_endpoint_refuses_who_has_not_the_secret(
    aws: Account, what: str, given: dict[str, str]
) -> None:
    trusting = ssl.create_default_context(cafile=str(aws.aws.certificate.ca))
    url = f"{aws.aws.endpoint_url}/_cutout/{what}"
    for method in ("GET", "PUT", "POST"):
        answer = httpx.request(method, url, headers=given, content="{}", verify=trusting)
        assert answer.status_code == 403

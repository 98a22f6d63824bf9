from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from cutout_local.aws import LocalAws

from .support import TEMPLATE, eventually, invoke


def test_a_function_has_the_template_s_environment_and_no_other(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.kill("CheckerFunction")  # the next one starts in the environment of this test
    monkeypatch.setenv("LEAKED", "x")
    seen = invoke(aws, {"do": "environment"})
    assert seen["GREETING"] == f"hello from {aws.region}"
    assert seen["TABLE"] == aws.outputs["Table"]
    assert seen["SECRET"] == "api-key"
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == aws.outputs["Checker"]
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert seen["AWS_ENDPOINT_URL"] == aws.endpoint_url
    assert seen["cwd"] == seen["LAMBDA_TASK_ROOT"] == str(TEMPLATE.parent / "functions/checker")
    assert seen["path"][:2] == [seen["cwd"], str(TEMPLATE.parent / "layer")]
    assert not {"LEAKED", "HOME", "USER", "VIRTUAL_ENV"} & seen.keys()


def test_the_context_tells_the_time_that_is_left(aws: LocalAws) -> None:
    seen = invoke(aws, {"do": "context"})
    assert 0 < seen["remaining"] <= 1000
    assert seen["arn"].endswith(f":function:{aws.outputs['Checker']}")
    assert seen["log"] == aws.outputs["CheckerLogs"]


def test_a_handler_uses_its_layer_and_answers_with_json(aws: LocalAws) -> None:
    seen = invoke(aws, {"say": "\U0001f600 ü"})
    assert seen["greeting"] == "from the layer"
    assert seen["event"] == {"say": "\U0001f600 ü"}
    assert seen["FunctionError"] is None


def test_an_error_of_the_handler_is_unhandled(aws: LocalAws) -> None:
    seen = invoke(aws, {"do": "raise", "say": 'no "luck"'})
    assert seen["FunctionError"] == "Unhandled"
    assert seen["errorType"] == "TemporarilyUnavailable"
    assert seen["errorMessage"] == 'no "luck"'
    assert seen["stackTrace"]


def test_a_handler_that_takes_too_long_is_killed_and_the_next_one_runs(aws: LocalAws) -> None:
    before = invoke(aws, {"do": "environment"})["pid"]
    seen = invoke(aws, {"do": "sleep", "seconds": 60})
    assert seen["FunctionError"] == "Unhandled"
    assert seen["errorType"] == "Sandbox.Timedout"
    assert seen["errorMessage"].endswith("Task timed out after 1.00 seconds")
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert invoke(aws, {"do": "environment"})["pid"] != before


def test_a_process_that_ends_is_an_exit_error_and_the_next_one_runs(aws: LocalAws) -> None:
    seen = invoke(aws, {"do": "exit"})
    assert seen["errorType"] == "Runtime.ExitError"
    assert seen["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert invoke(aws, {})["FunctionError"] is None


def test_a_function_that_is_killed_at_work_fails_that_invocation_only(aws: LocalAws) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(invoke, aws, {"do": "sleep", "seconds": 0.9, "say": "at work"})
        eventually(lambda: any("at work" in line for line in log_lines(aws)))
        aws.kill("CheckerFunction")
        assert running.result()["errorMessage"].endswith("signal: killed")
    assert invoke(aws, {})["FunctionError"] is None


def test_a_module_that_cannot_be_imported_fails_each_time(aws: LocalAws) -> None:
    for _ in range(2):
        seen = invoke(aws, {}, "Broken")
        assert seen["FunctionError"] == "Unhandled"
        assert seen["errorType"] == "Runtime.ImportModuleError"


def test_what_a_function_prints_is_in_its_log_group(aws: LocalAws) -> None:
    invoke(aws, {"say": "for the log"})
    eventually(lambda: "checker: for the log" in log_lines(aws))


def test_an_invocation_that_waits_for_its_turn_keeps_its_time(aws: LocalAws) -> None:
    with ThreadPoolExecutor(3) as pool:
        naps = [{"do": "sleep", "seconds": 0.6}] * 3
        answers = list(pool.map(lambda nap: invoke(aws, nap), naps))
    assert [answer["FunctionError"] for answer in answers] == [None] * 3


def test_an_event_invocation_is_answered_at_once(aws: LocalAws) -> None:
    answer = aws.client("lambda").invoke(
        FunctionName=aws.outputs["Checker"],
        InvocationType="Event",
        Payload=json.dumps({"say": "asynchronously"}),
    )
    assert answer["StatusCode"] == 202
    eventually(lambda: "checker: asynchronously" in log_lines(aws))


def log_lines(aws: LocalAws) -> list[str]:
    events = aws.client("logs").filter_log_events(logGroupName=aws.outputs["CheckerLogs"])
    return [event["message"] for event in events["events"]]

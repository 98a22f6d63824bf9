"""Lambda: environments, ends, logs and concurrency."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from tests.local_aws.support import Account
from tests.support.waiting import wait_for

UNPACK = """
import io, threading, zipfile
from concurrent.futures import ThreadPoolExecutor
from cutout_local.aws.functions import code_dir

with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
    archive.writestr("app.py", "code")
together = threading.Barrier(8)
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda _: together.wait() and 0 or code_dir(buffer.getvalue()), range(8)))
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_error_is_named_by_the_handler_s_exception(aws: Account) -> None:
    kind, payload = aws.invoke(do="raise", say='no "luck"')
    assert (kind, payload["errorType"]) == ("Unhandled", "TemporarilyUnavailable")
    assert payload["errorMessage"] == 'no "luck"'
    assert payload["stackTrace"]


def test_a_function_has_nothing_of_this_machine_s_and_says_what_it_lacks(aws: Account) -> None:
    kind, payload = aws.invoke("Broken")
    assert (kind, payload["errorType"]) == ("Unhandled", "Runtime.ImportModuleError")
    assert "No module named 'typer'" in payload["errorMessage"]


def test_what_several_stacks_unpack_at_once_is_there_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    unpack = [sys.executable, "-c", UNPACK]
    subprocess.run(unpack, env={"CUTOUT_CODE_CACHE": str(cache)}, check=True, timeout=60)
    (folder,) = cache.iterdir()
    assert (folder / "app.py").read_text() == "code"


def test_a_function_has_lambda_s_and_the_template_s_environment_and_no_other(aws: Account) -> None:
    _, seen = aws.invoke(do="environment")
    assert (seen["TABLE"], seen["NUMBER"]) == (aws.outputs["Table"], "7")
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == aws.outputs["Hand"]
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert seen["AWS_REGION"] == aws.aws.region
    assert seen["AWS_ENDPOINT_URL"] == aws.aws.endpoint_url
    assert seen["AWS_ACCESS_KEY_ID"] != aws.aws.credentials.access_key_id
    assert seen["AWS_SESSION_TOKEN"]
    others = {name for name in seen if not name.startswith(("AWS_", "LAMBDA_"))}
    assert others - {"_HANDLER", "_X_AMZN_TRACE_ID"} == {
        *("TABLE", "NUMBER", "TZ", "LANG", "PATH", "PYTHONPATH")
    }
    assert aws.aws.credentials.secret_access_key not in seen.values()


def test_a_function_sees_nothing_of_the_host_s_environment(aws: Account) -> None:
    hosts = {f"{name}={value}" for name, value in os.environ.items()}
    _, seen = aws.invoke(do="environment")
    common = hosts & {f"{name}={value}" for name, value in seen.items()}
    assert {pair.split("=")[0] for pair in common} <= {"LANG", "TZ"}


def test_a_function_that_takes_too_long_is_killed_and_the_next_one_runs(aws: Account) -> None:
    _, before = aws.invoke(do="pid")
    kind, payload = aws.invoke(do="sleep", seconds=60)
    assert (kind, payload["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert payload["errorMessage"].endswith("Task timed out after 4.00 seconds")
    assert wait_for(lambda: not is_running(before))
    kind, after = aws.invoke(do="pid")
    assert (kind, after != before) == (None, True)


@pytest.mark.parametrize("how", ["exit", "exit while answering"])
def test_a_process_that_ends_is_an_exit_error_and_the_next_one_runs(aws: Account, how: str) -> None:
    kind, payload = aws.invoke(do=how)
    assert (kind, payload["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert aws.invoke(say="well") == (None, {"said": "well"})


def test_a_function_that_is_killed_at_work_fails_that_invocation_only(aws: Account) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(aws.invoke, do="sleep", seconds=1.5)

        def killed() -> bool:
            aws.aws.kill(aws.outputs["Hand"])
            return running.done()

        wait_for(killed)
        kind, payload = running.result()
    assert (kind, payload["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert aws.invoke(say="well")[0] is None


def test_lines_are_in_the_template_s_group_between_start_end_and_report(aws: Account) -> None:
    say = "for the log ü"
    aws.invoke(say=say)
    (line,) = aws.logged('"for the log')
    entry = json.loads(line)
    assert (entry["level"], entry["message"]) == ("INFO", say)
    request = entry["request"]
    assert [each.split()[0] for each in aws.logged(f"RequestId: {request}")] == [
        "START",
        "END",
        "REPORT",
    ]
    (report,) = aws.logged(f"REPORT RequestId: {request}")
    assert "Duration: " in report
    assert "Memory Size: 256 MB" in report


def test_the_eleventh_invocation_at_a_time_is_throttled_and_a_retry_outlasts_it(
    aws: Account,
) -> None:
    throttled = aws.functions.exceptions.TooManyRequestsException
    retry = {"ErrorEquals": ["Lambda.TooManyRequestsException"], "IntervalSeconds": 1}
    ask = aws.task({"say": "at last"}, Retry=[{**retry, "MaxAttempts": 9}], End=True)
    machine = aws.machine({"Ask": ask})
    with ThreadPoolExecutor(12) as pool:
        naps = [pool.submit(aws.invoke, do="sleep", seconds=3) for _ in range(12)]
        wait_for(lambda: sum(nap.done() for nap in naps) >= 2)
        execution = aws.start(machine)
        ends = [nap.exception() for nap in naps]
    assert [isinstance(end, throttled) for end in ends if end] == [True, True]
    assert json.loads(aws.ended(execution)["output"]) == {"said": "at last"}
    assert "TaskFailed" in aws.history(execution)


def test_invocations_at_a_time_have_an_environment_each(aws: Account) -> None:
    begun = aws.aws.folder / uuid4().hex
    with ThreadPoolExecutor(1) as pool:
        nap = pool.submit(aws.invoke, do="sleep", seconds=1, begun=str(begun))
        wait_for(begun.exists)
        _, other = aws.invoke(do="pid")
        _, one = nap.result()
    assert is_running(one)
    assert is_running(other)
    assert one != other


def test_a_function_s_reserved_concurrency_is_all_it_gets(aws: Account) -> None:
    with ThreadPoolExecutor(2) as pool:
        naps = [pool.submit(aws.invoke, "NarrowHand", do="sleep", seconds=1) for _ in range(2)]
        ends = [nap.exception() for nap in naps]
    (throttled,) = [end for end in ends if end]
    assert isinstance(throttled, aws.functions.exceptions.TooManyRequestsException)
    assert throttled.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_an_event_invocation_is_answered_at_once(aws: Account) -> None:
    answer = aws.functions.invoke(
        FunctionName=aws.outputs["Hand"],
        InvocationType="Event",
        Payload=json.dumps({"say": "asynchronously"}),
    )
    assert answer["StatusCode"] == 202
    assert aws.logged("asynchronously")

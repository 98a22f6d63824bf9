from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from cutout_local.aws import (
    AlreadyRunning,
    Call,
    InvalidTemplate,
    LocalAws,
    PortTaken,
    StackFailed,
)
from cutout_local.aws.template import to_cloudformation

from .support import PARAMETERS, SECRETS, TEMPLATE, eventually, invoke, kept_items

ENDLESS = f"""
import json
from pathlib import Path
from cutout_local.aws import LocalAws
with LocalAws(Path({str(TEMPLATE)!r}), {PARAMETERS!r}, secrets={SECRETS!r}) as aws:
    answer = aws.client("lambda").invoke(
        FunctionName=aws.outputs["Checker"], Payload='{{"do": "environment"}}'
    )
    print(json.load(answer["Payload"])["pid"], flush=True)
    aws.client("lambda").invoke(FunctionName=aws.outputs["Checker"], Payload='{{"do": "sleep",'
        '"seconds": 60}}')
    import threading
    threading.Event().wait()
"""


def stack(port: int = 0) -> LocalAws:
    return LocalAws(TEMPLATE, PARAMETERS, secrets=SECRETS, port=port)


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_stacks_come_one_after_the_other_and_leave_nothing_behind() -> None:
    before = threads()
    with stack() as first:
        pid = invoke(first, {"do": "environment"})["pid"]
        first.client("dynamodb").put_item(TableName=first.outputs["Table"], Item={"id": {"S": "1"}})
        url = first.endpoint_url
    assert not is_running(pid)
    assert eventually(lambda: threads() <= before)
    assert "MOTO_PORT" not in os.environ
    with stack(port=int(url.rsplit(":", 1)[1])) as second:
        assert second.endpoint_url == url
        assert kept_items(second) == []
        assert second.outputs["Table"] != first.outputs["Table"]


def test_work_that_is_not_done_does_not_hold_up_the_end() -> None:
    before = threads()
    with stack() as aws:
        states = aws.client("stepfunctions")
        machine = aws.outputs["MachineArn"]
        for _ in range(3):
            states.start_execution(stateMachineArn=machine, input='{"do": "sleep", "seconds": 60}')
        aws.client("sqs").send_message(QueueUrl=aws.outputs["QueueUrl"], MessageBody="{}")
    assert eventually(lambda: threads() <= before)


def test_a_request_that_waits_for_its_function_is_answered_when_the_stack_ends() -> None:
    before = threads()
    with ThreadPoolExecutor(1) as pool:
        with stack() as aws:
            request = pool.submit(httpx.post, aws.outputs["WebUrl"] + "wait", timeout=None)
            log = {"logGroupName": f"/aws/lambda/{aws.outputs['Web']}", "filterPattern": "waiting"}
            eventually(lambda: aws.client("logs").filter_log_events(**log)["events"])
        assert request.result().status_code == 502
    assert eventually(lambda: threads() <= before)


def test_a_port_that_is_taken_is_said_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            stack(port=port).start()


def test_a_second_stack_in_one_process_is_refused() -> None:
    with stack(), pytest.raises(AlreadyRunning):
        stack().start()


def test_a_stack_that_fails_leaves_nothing_behind() -> None:
    before = threads()
    with pytest.raises(StackFailed, match="SecretName"):
        LocalAws(TEMPLATE, {}, secrets={}).start()
    assert eventually(lambda: threads() <= before)


@pytest.mark.parametrize(
    "text",
    ["", "a: [", "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Nope: 1}}}"],
)
def test_a_template_that_cannot_be_read_is_said_so(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    template = tmp_path / "template.yaml"
    template.write_text(text)
    with pytest.raises(InvalidTemplate, match=r"template\.yaml"):
        to_cloudformation(template, {})


def test_a_condition_leaves_resources_out() -> None:
    parameters = {**PARAMETERS, "WithListener": "no", "WithUrl": "no"}
    with LocalAws(TEMPLATE, parameters, secrets=SECRETS) as aws:
        names = [f["FunctionName"] for f in aws.client("lambda").list_functions()["Functions"]]
        assert invoke(aws, {"do": "environment"})["WEB_URL"] == ""
        assert "WebUrl" not in aws.outputs
    assert not any("Listener" in name or "Web" in name for name in names)
    assert any("Checker" in name for name in names)


def test_a_function_may_have_several_environments(tmp_path: Path) -> None:
    meet = {"do": "meet", "folder": str(tmp_path)}
    with (
        LocalAws(TEMPLATE, PARAMETERS, secrets=SECRETS, environments=2) as aws,
        ThreadPoolExecutor(2) as pool,
    ):
        answers = list(pool.map(lambda event: invoke(aws, event), [meet, meet]))
    assert [answer["FunctionError"] for answer in answers] == [None, None]


def test_the_calls_of_each_function_are_told() -> None:
    calls: set[Call] = set()
    with LocalAws(TEMPLATE, PARAMETERS, secrets=SECRETS, on_call=calls.add) as aws:
        aws.client("sqs").send_message(QueueUrl=aws.outputs["QueueUrl"], MessageBody="{}")
        eventually(lambda: kept_items(aws))
        s3, place = aws.client("s3"), {"Bucket": aws.outputs["Bucket"], "Key": "k"}
        upload = s3.create_multipart_upload(**place)["UploadId"]
        s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"p")
        version = s3.put_object(**place, Tagging="a=b")["VersionId"]
        s3.get_object_tagging(**place)
        url = s3.generate_presigned_url("get_object", Params={**place, "VersionId": version})
        urllib.request.urlopen(url).close()
        aws.client("sts").get_caller_identity()
        aws.client("stepfunctions").start_execution(
            stateMachineArn=aws.outputs["MachineArn"], input='{"say": "x"}'
        )
        eventually(lambda: Call("states", "lambda", "Invoke") in calls)
        eventually(lambda: Call("WorkerFunction", "sqs", "DeleteMessage") in calls)
    assert {call for call in calls if call.caller == "WorkerFunction"} == {
        Call("WorkerFunction", "sqs", "ReceiveMessage"),
        Call("WorkerFunction", "sqs", "DeleteMessage"),
        Call("WorkerFunction", "dynamodb", "PutItem"),
    }
    assert {call for call in calls if call.service in ("s3", "sts")} == {
        Call("test", "s3", "CreateMultipartUpload"),
        Call("test", "s3", "UploadPart"),
        Call("test", "s3", "PutObject", sets_tags=True),
        Call("test", "s3", "GetObjectTagging"),
        Call("test", "s3", "GetObject", names_version=True),
        Call("test", "sts", "GetCallerIdentity"),
    }


def test_ctrl_c_ends_everything() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
    assert not is_running(pid)

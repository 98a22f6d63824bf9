"""What a local AWS leaves behind, keeps, and keeps apart."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from cutout_local.aws.errors import PortTaken
from cutout_local.aws.stack import LocalAws
from tests.local_aws.support import Account, account
from tests.support.waiting import wait_for

ENDLESS = """
import sys
from pathlib import Path
from tests.local_aws.support import account
with account(Path(sys.argv[1])) as aws:
    print(aws.aws.port, aws.invoke(do="pid")[1], flush=True)
    aws.invoke("NarrowHand", do="sleep", seconds=9, begun=sys.argv[1] + "/begun")
"""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def is_gone(pid: int) -> bool:
    """Ended, though perhaps not yet waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def children(pid: int) -> set[int]:
    """All that descend from a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    direct = {int(child) for each in lists for child in each.read_text().split()}
    return direct.union(*map(children, direct))


def server_pid(aws: Account) -> int:
    process = aws.aws._process
    assert process
    return process.pid


def close(aws: Account) -> None:
    aws.aws.close()


def terminate(aws: Account) -> None:
    os.kill(server_pid(aws), signal.SIGTERM)


@LINUX
@pytest.mark.parametrize("end", [close, terminate])
def test_nothing_is_left_of_a_stack_at_work(tmp_path: Path, end: Callable[[Account], None]) -> None:
    with ThreadPoolExecutor() as pool, account(tmp_path) as aws:
        server, port = server_pid(aws), aws.aws.port
        begun = tmp_path / "begun"
        pool.submit(aws.invoke, "NarrowHand", do="sleep", seconds=9, begun=str(begun))
        wait_for(begun.exists, 5)
        running = children(server)
        assert running
        end(aws)
        wait_for(lambda: is_free(port), 3)
        wait_for(lambda: all(is_gone(each) for each in running), 3)


@LINUX
def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        port, function = map(int, parent.stdout.readline().split())
        running = children(parent.pid)
        assert function in running
        wait_for((tmp_path / "begun").exists, 5)
        parent.kill()
    wait_for(lambda: is_free(port), 3)
    wait_for(lambda: all(is_gone(each) for each in running), 3)


@LINUX
def test_only_one_port_listens_and_only_on_loopback(aws: Account) -> None:
    server = server_pid(aws)
    open_files = Path(f"/proc/{server}/fd").iterdir()
    links = {str(link.readlink()) for link in open_files if link.is_symlink()}
    inodes = {link for link in links if link.startswith("socket:")}
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{server}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in inodes
    ]
    assert f"0100007F:{aws.aws.port:04X}" in listening
    assert all(each.startswith("0100007F:") for each in listening)
    runtime_apis = len(children(server))  # Lambda's own interface for each environment
    assert len(listening) <= 1 + runtime_apis


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            LocalAws(tmp_path, port=port).start()


def test_two_stacks_do_not_see_each_other(aws: Account, tmp_path: Path) -> None:
    with LocalAws(tmp_path) as other:
        assert other.client("s3").list_buckets()["Buckets"] == []
        assert other.client("lambda").list_functions()["Functions"] == []
        stranger = Account(other, aws.outputs)
        with pytest.raises(ClientError):
            stranger.item("any")
        other.port, port = aws.aws.port, other.port
        other.client.cache_clear()
        with pytest.raises(BotoCoreError):  # another certificate
            other.client("s3").list_buckets()
        other.port = port


def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    key = uuid4().hex
    with account(tmp_path, keep=True) as first:
        version = first.put(key, b"first")["VersionId"]
        first.put(key, b"second")
        table = first.outputs["Table"]
        first.dynamodb.put_item(TableName=table, Item={"id": {"S": key}})
        outputs, port = first.outputs, first.aws.port
        execution = first.start(outputs["Machine"], {"x": 1})
        first.ended(execution)
        wait = {"Type": "Wait", "Seconds": 300, "End": True}
        waiting = first.start(first.machine({"Wait": wait}))
    with LocalAws(tmp_path, port=port, keep=True, wait_scale=0) as aws:
        second = Account(aws, outputs)
        assert second.get(key) == b"second"
        assert second.get(key, VersionId=version) == b"first"
        assert second.item(key) == {"id": {"S": key}}
        assert second.invoke(say="again") == (None, {"said": "again"})
        assert second.ended(execution)["status"] == "SUCCEEDED"
        assert second.ended(waiting)["status"] == "SUCCEEDED"  # it ran when the first one stopped
        second.put("up/after")
        assert second.received("Uploads")
        sent = second.send("Queue", {"do": "keep"})
        assert wait_for(lambda: second.item(sent), 10)


def test_what_functions_import_is_there_before_a_request_is_taken(tmp_path: Path) -> None:
    """Two functions that start at once must not both lay it out."""
    with LocalAws(tmp_path):
        assert {"awslambdaric", "boto3", "six.py"} <= {
            found.name for found in (tmp_path / "runtime").iterdir() if found.exists()
        }


def test_what_is_not_kept_is_gone_after_a_restart(tmp_path: Path) -> None:
    with LocalAws(tmp_path) as first:
        first.client("sqs").create_queue(QueueName="gone")
    with LocalAws(tmp_path) as second:
        assert not second.client("sqs").list_queues().get("QueueUrls")


def test_a_ctrl_c_while_it_starts_leaves_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def interrupted(aws: LocalAws) -> None:
        started.append(aws._process)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalAws, "report", interrupted)
    with pytest.raises(KeyboardInterrupt), LocalAws(tmp_path):
        pass

    (process,) = started
    assert process is not None
    assert process.poll() is not None

"""Starts Lambda's environments as forks of a process that has imported what most of them need.

It saves each of them half of its start. MiniStack takes `Environment` for `subprocess.Popen`; the
server itself is this file run as a program, which sees a function's packages and no others.
"""

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from multiprocessing import connection
from typing import IO, Any

# Of what Lambda has and our layer brings; none reads the environment when it is imported.
_PRELOADED = (
    *("boto3", "simplejson", "httpcore", "pydantic.types", "pydantic.json_schema"),
    *("cutout.domain.messages", "cutout.settings", "cutout.store.governor"),
    "cutout.wavespeed.contract",
)
_servers: dict[str, socket.socket] = {}
_starting = threading.Lock()


class Environment:
    """A process that the fork server started, as far as MiniStack uses `subprocess.Popen`."""

    def __init__(self, _command: list[str], cwd: str, env: dict[str, str], **_pipes: Any) -> None:
        settings, ours = os.pipe()
        stdout, output = os.pipe()
        self._alive, alive = socket.socketpair()
        with _starting:
            server = _servers.get(env["PYTHONPATH"]) or _start(env["PYTHONPATH"])
        socket.send_fds(server, [b"\0"], [settings, output, alive.fileno()])
        alive.close()
        for theirs in (settings, output):
            os.close(theirs)
        with os.fdopen(ours, "w") as file:
            json.dump({"cwd": cwd, "env": env}, file)
        self.stdout: IO[bytes] = os.fdopen(stdout, "rb")
        self.pid = int(self._alive.recv(16))

    def poll(self) -> int | None:
        """None while it runs; nobody asks for more than that it has ended."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises `subprocess.TimeoutExpired`."""
        ended = self._ended(timeout)
        if ended is None:
            raise subprocess.TimeoutExpired("environment", timeout or 0)
        return ended

    def send_signal(self, number: int) -> None:
        """Nothing happens to a process that has ended."""
        with suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        """It alone holds the other end, and never writes again."""
        return 1 if connection.wait([self._alive], timeout) else None


def _start(path: str) -> socket.socket:
    """Start the server for functions with the same layers."""
    ours, theirs = socket.socketpair()
    subprocess.Popen(
        # -S leaves out the virtual environment, of which Lambda has only these; -P this folder.
        [sys.executable, "-S", "-P", __file__, str(theirs.fileno())],
        env={"PATH": os.defpath, "LANG": os.environ["LANG"], "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    _servers[path] = ours
    return ours


def _serve(requests: socket.socket) -> None:
    """Fork for each request, until nobody can make any; returns in the fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps them
    gc.freeze()
    while True:
        _, descriptors, *_ = socket.recv_fds(requests, 1, 3)
        if not descriptors:
            sys.exit()
        if not os.fork():
            requests.close()
            return _run(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _run(settings: int, output: int, alive: int) -> None:
    """Be the environment: returns when its process shall end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.write(alive, str(os.getpid()).encode())
    for standard in (sys.stdout, sys.stderr):
        os.dup2(output, standard.fileno())
    os.close(output)
    with os.fdopen(settings) as file:
        given = json.load(file)
    os.chdir(given["cwd"])
    os.environ.clear()
    os.environ.update(given["env"])
    time.tzset()
    sys.path.insert(0, given["cwd"])
    sys.argv = ["awslambdaric", os.environ["_HANDLER"]]
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)


def main() -> None:
    for name in _PRELOADED:
        with suppress(ImportError):  # a function without that layer
            import_module(name)
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        _serve(requests)


if __name__ == "__main__":
    main()

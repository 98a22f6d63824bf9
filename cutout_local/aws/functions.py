"""The stack's functions: their environment, their invocations, their logs.

Differences from Lambda: as few environments as the stack was told (one, as a rule), so that
invocations wait for each other, which does not count as their time; asynchronous retries come at
once and not after minutes; the log has the lines of the handler and none of the platform but for
timeouts and crashes.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any

from moto.awslambda.models import LambdaFunction, LayerVersion
from moto.logs.models import logs_backends

from .runtime_api import Answer, Exited
from .sandbox import Sandbox, TimedOut

logger = logging.getLogger(__name__)

ASYNC_ATTEMPTS = 3
"""https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"""


class _Closed(Exception):
    """There will be no more environments of this function."""


class Function:
    """A function of the stack, in up to `environments` processes; further invocations wait."""

    def __init__(
        self,
        logical_id: str,
        model: LambdaFunction,
        properties: Mapping[str, Any],
        host: Functions,
    ) -> None:
        self.logical_id = logical_id
        self.model = model
        self._properties = properties
        self._host = host
        self._free_slots = Semaphore(host.environments)
        self._lock = Lock()
        self._idle: list[Sandbox] = []
        self._sandboxes: set[Sandbox] = set()
        self._closed = False

    def warm_up(self) -> None:
        with self._sandbox():
            """An environment that is started, and then idle."""

    def invoke(self, event: bytes, request_id: str = "") -> Answer:
        """What the Lambda API answers: a payload (JSON) and whether it is an error.

        The request id is made up unless it is given.
        """
        request_id = request_id or str(uuid.uuid4())
        try:
            with self._sandbox() as sandbox:
                outcome = sandbox.run(request_id, event, self.model.function_arn, self._timeout)
        except _Closed:
            return _error("ServiceException", "the stack is coming down")
        if isinstance(outcome, Answer):
            return outcome
        kind, reason = self._ending(outcome)
        message = f"RequestId: {request_id} Error: {reason}"
        sandbox.on_line(message)
        return _error(kind, message)

    def kill(self) -> None:
        """Kills the processes as a crash would; the next invocation starts another."""
        with self._lock:
            for sandbox in self._sandboxes:
                sandbox.kill()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.kill()
        for _ in range(self._host.environments):  # until the invocations in work have ended
            self._free_slots.acquire()
        self._free_slots.release(self._host.environments)
        for sandbox in self._sandboxes:
            sandbox.close()

    @contextmanager
    def _sandbox(self) -> Iterator[Sandbox]:
        with self._free_slots:
            sandbox = self._take()
            yield sandbox
            with self._lock:
                self._idle.append(sandbox)

    def _take(self) -> Sandbox:
        with self._lock:
            if self._closed:
                raise _Closed
            while self._idle:
                sandbox = self._idle.pop()
                if sandbox.usable:
                    return sandbox
                self._sandboxes.discard(sandbox)
                sandbox.close()
            sandbox = self._new_sandbox()
            self._sandboxes.add(sandbox)
            return sandbox

    def _new_sandbox(self) -> Sandbox:
        log = _LogStream(self.model, self.logical_id, self._log_settings)
        return Sandbox(
            self.model.handler or "",
            self._folder(self.model.code),
            [self._folder(layer.content) for layer in self._layers()],
            self._environment(log),
            log.write,
        )

    @property
    def _log_settings(self) -> dict[str, str]:
        settings: dict[str, str] = self._properties.get("LoggingConfig", {})
        return settings

    def _folder(self, code: dict[str, str]) -> Path:
        return (self._host.root / code["S3Key"]).resolve()

    def _layers(self) -> list[LayerVersion]:
        """The stack's own layers: one named by its ARN is in an account that is not here."""
        layers = self._properties.get("Layers", [])
        return [layer for layer in layers if isinstance(layer, LayerVersion)]

    def _environment(self, log: _LogStream) -> dict[str, str]:
        """The template's variables, and those that Lambda itself sets.

        https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
        """
        model = self.model
        return {
            **{name: str(value) for name, value in model.environment_vars.items()},
            **_LOCAL_ENVIRONMENT,
            **_log_variables(self._log_settings),
            "AWS_ENDPOINT_URL": self._host.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.logical_id,
            "AWS_REGION": model.region,
            "AWS_DEFAULT_REGION": model.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{model.run_time}",
            "AWS_LAMBDA_FUNCTION_NAME": model.function_name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(model.memory_size),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": log.group,
            "AWS_LAMBDA_LOG_STREAM_NAME": log.stream,
            "LAMBDA_TASK_ROOT": str(self._folder(model.code)),
            "_HANDLER": model.handler or "",
        }

    @property
    def _timeout(self) -> float:
        return float(self.model.timeout)

    def _ending(self, outcome: Exited | TimedOut) -> tuple[str, str]:
        if isinstance(outcome, TimedOut):
            return "Sandbox.Timedout", f"Task timed out after {self._timeout:.2f} seconds"
        return "Runtime.ExitError", _exit_reason(outcome.code)


class Functions:
    """All functions of a stack."""

    def __init__(self, root: Path, endpoint_url: str, environments: int) -> None:
        self.root = root
        self.endpoint_url = endpoint_url
        self.environments = environments
        self._by_name: dict[str, Function] = {}
        self._background = ThreadPoolExecutor(thread_name_prefix="functions")

    def add(self, logical_id: str, model: LambdaFunction, properties: Mapping[str, Any]) -> None:
        """Starts a process too, without waiting: the first invocation finds it ready."""
        function = Function(logical_id, model, properties, self)
        self._by_name[model.function_name] = function
        self._background.submit(function.warm_up)

    def named(self, function_name: str) -> Function:
        return self._by_name[function_name]

    def invoke_async(self, function_name: str, event: bytes) -> None:
        """As for an event from EventBridge: an error is tried again, and then dropped."""
        with suppress(RuntimeError):  # no more work is taken when the stack comes down
            self._background.submit(self._attempts, self.named(function_name), event)

    def kill(self, logical_id: str) -> None:
        for function in self._by_name.values():
            if function.logical_id == logical_id:
                function.kill()

    def close(self) -> None:
        self._background.shutdown(wait=False, cancel_futures=True)
        for function in self._by_name.values():
            function.close()
        self._background.shutdown()

    def _attempts(self, function: Function, event: bytes) -> None:
        for _ in range(ASYNC_ATTEMPTS):
            if not function.invoke(event).failed:
                return
        logger.error("%s: event dropped after %d attempts", function.logical_id, ASYNC_ATTEMPTS)


class _LogStream:
    """A stream in the function's log group, and a logger named after the function."""

    def __init__(self, model: LambdaFunction, logical_id: str, settings: Mapping[str, str]) -> None:
        self.group = settings.get("LogGroup") or f"/aws/lambda/{model.function_name}"
        self.stream = f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        self._backend = logs_backends[model.account_id][model.region]
        self._backend.ensure_log_group(self.group)
        self._backend.create_log_stream(self.group, self.stream)
        self._logger = logger.getChild(logical_id)

    def write(self, line: str) -> None:
        self._logger.info(line)
        event = {"timestamp": int(time.time() * 1000), "message": line}
        self._backend.put_log_events(self.group, self.stream, [event])


_LOCAL_ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "test",
    # Lambda has no home folder; a developer's has credentials and endpoints of the real AWS.
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
}


def _log_variables(config: Mapping[str, str]) -> dict[str, str]:
    if config.get("LogFormat") != "JSON":
        return {}
    level = config.get("ApplicationLogLevel", "INFO")
    return {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": level}


def _error(kind: str, message: str) -> Answer:
    return Answer(json.dumps({"errorType": kind, "errorMessage": message}).encode(), failed=True)


def _exit_reason(code: int) -> str:
    if code < 0:
        return "Runtime exited with error: signal: killed"
    if code == 0:
        return "Runtime exited without providing a reason"
    return f"Runtime exited with error: exit status {code}"

"""State machines executed by moto's own interpreter, and what it needs to do so as AWS does."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moto.core.exceptions import AWSError
from moto.core.utils import utcnow
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser import utils as parser_utils
from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.models import (
    StepFunctionsParserBackend,
    stepfunctions_parser_backends,
)
from samtranslator.yaml_helper import yaml_parse

from .clients import Clients

CALLER = "states"
"""The access key id of the calls that state machines make."""

_SUBSTITUTION = re.compile(r"\$\{([A-Za-z0-9_]+)\}")


def substituted(definition: str, values: Mapping[str, object]) -> str:
    """`${Name}` replaced by its value; a name that has none stays, as CloudFormation leaves it."""
    return _SUBSTITUTION.sub(
        lambda match: str(values.get(match.group(1), match.group(0))), definition
    )


def query_evaluation_error(environment: Environment, cause: str) -> FailureEventException:
    """A JSONata expression that fails is States.QueryEvaluationError; moto: States.Runtime."""
    name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
    failure = EvaluationFailedEventDetails(cause=cause, error=name.error_name)
    details: Any = {"evaluationFailedEventDetails": failure}
    return FailureEventException(
        FailureEvent(
            env=environment,
            error_name=name,
            event_type=HistoryEventType.EvaluationFailed,
            event_details=details,
        )
    )


class Naps:
    """Stands in for the `time` of moto's Retry, whose sleep nothing could end."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self.sleep: Callable[[float], object] = self._stopped.wait

    def stop(self) -> None:
        self._stopped.set()


class Starts:
    """StartExecution one at a time: moto looks for the name and adds it in two steps.

    Without a name, AWS gives the execution a UUID; moto calls it None.
    """

    def __init__(self, original: Callable[..., Execution]) -> None:
        self._original = original
        self._lock = threading.Lock()

    def __call__(
        self,
        backend: StepFunctionsParserBackend,
        state_machine_arn: str,
        name: str | None = None,
        *arguments: Any,
        **keywords: Any,
    ) -> Execution:
        with self._lock:
            return self._original(
                backend, state_machine_arn, name or str(uuid.uuid4()), *arguments, **keywords
            )


class _TaskTimedOut(AWSError):
    """SendTask… came too late; moto's class of this name cannot be answered with."""

    TYPE = "TaskTimedOut"
    STATUS = 400


def interrupt_tokens(execution: Execution) -> None:
    for endpoint in _endpoints(execution).values():
        endpoint.interrupt_all()


def refusing_late(operation: str) -> Callable[..., Any]:
    """SendTask… for a task that is over is TaskTimedOut; moto accepts it, or knows no such token.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html
    """
    original = getattr(StepFunctionsParserBackend, operation)

    def send(
        backend: StepFunctionsParserBackend, task_token: str, *args: Any, **kwargs: Any
    ) -> Any:
        for execution in backend._get_executions():
            endpoint = _endpoints(execution).get(task_token)
            if endpoint and (endpoint._notify_event.is_set() or execution.status != "RUNNING"):
                raise _TaskTimedOut("the task is over")
        return original(backend, task_token, *args, **kwargs)

    return send


def _endpoints(execution: Execution) -> dict[str, Any]:
    worker = execution.exec_worker
    if not worker or not worker.env:  # its thread has not begun
        return {}
    return dict(worker.env.callback_pool_manager._pool)


class StateMachines:
    """The state machines of a stack, and all that its executions run in."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._clients = Clients()
        self.naps = Naps()

    def create(
        self, name: str, properties: Mapping[str, Any], account_id: str, region: str
    ) -> StateMachine:
        """Creates the machine of a CloudFormation resource in the backend that executes.

        moto takes the one that does not, knows no DefinitionS3Location and no substitutions.
        """
        definition = substituted(
            (self._root / properties["DefinitionS3Location"]["Key"]).read_text(encoding="utf-8"),
            properties.get("DefinitionSubstitutions", {}),
        )
        backend: StepFunctionsParserBackend = stepfunctions_parser_backends[account_id][region]
        return backend.create_state_machine(
            properties.get("StateMachineName", name),
            json.dumps(yaml_parse(definition)),
            properties["RoleArn"],
        )

    def client(self, *, service_name: str, **settings: Any) -> Any:
        """Stands in for `boto3.client`, with which the interpreter makes one for every call."""
        return self._clients.client(service_name, **{**settings, "aws_access_key_id": CALLER})

    def stop(self) -> None:
        """Tells every execution to end."""
        self.naps.stop()
        for backends in stepfunctions_parser_backends.values():
            for backend in backends.values():
                for execution in backend._get_executions():
                    _end(execution)

    def close(self) -> None:
        """Waits until all have ended."""
        for thread in parser_utils.TMP_THREADS:
            while thread.is_alive():
                self.stop()  # again: an execution that was just starting did not hear it
                thread.join(0.1)
        parser_utils.TMP_THREADS.clear()
        self._clients.close()


def _end(execution: Execution) -> None:
    if execution.status == "RUNNING" and execution.exec_worker and execution.exec_worker.env:
        execution.exec_worker.stop(utcnow(), error=None, cause=None)
    interrupt_tokens(execution)

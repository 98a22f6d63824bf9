"""Step Functions: start the wait loop of a task."""

from contextlib import suppress
from typing import TYPE_CHECKING

from cutout.aws.errors import served
from cutout.domain.messages import Execution, WaitLoopState
from cutout.domain.tasks import Task

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class WaitLoop:
    """The state machine. Raises `ServiceError` when Step Functions does not serve a call."""

    def __init__(self, client: "SFNClient", state_machine_arn: str) -> None:
        self._client = client
        self._arn = state_machine_arn

    def start(self, task: Task, first_wait: int) -> None:
        """Start the task's execution, unless this attempt has one already."""
        first = WaitLoopState(
            task_id=task.task_id,
            status=task.status,
            wait_seconds=first_wait,
            await_callback=first_wait > 0 and task.awaits_callback,
        )
        with (
            served(f"Step Functions failed to start task {task.task_id}"),
            suppress(self._client.exceptions.ExecutionAlreadyExists),
        ):
            self._client.start_execution(
                stateMachineArn=self._arn,
                name=task.execution_name,
                input=first.model_dump_json(),
            )

    def find(self, task: Task) -> Execution | None:
        """The execution of the task's attempt, None if there is none."""
        machine = self._arn.replace(":stateMachine:", ":execution:")
        arn = f"{machine}:{task.execution_name}"
        with served(f"Step Functions tells nothing of task {task.task_id}"):
            try:
                return Execution.model_validate(self._client.describe_execution(executionArn=arn))
            except self._client.exceptions.ExecutionDoesNotExist:
                return None

    def wake(self, token: str) -> None:
        """End the wait that a task token belongs to, if it still lasts."""
        errors = self._client.exceptions
        with (
            served("Step Functions refused the token"),
            # Its timer was faster, and the loop is polling anyway.
            suppress(errors.TaskTimedOut, errors.TaskDoesNotExist, errors.InvalidToken),
        ):
            self._client.send_task_success(taskToken=token, output="{}")

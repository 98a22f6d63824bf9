"""Step Functions: start the wait loop of a task."""

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cutout.domain.errors import ServiceError
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
        try:
            self._client.start_execution(
                stateMachineArn=self._arn,
                name=task.execution_name,
                input=first.model_dump_json(),
            )
        except self._client.exceptions.ExecutionAlreadyExists:
            return
        except (ClientError, BotoCoreError) as error:
            raise ServiceError(f"Step Functions failed to start task {task.task_id}") from error

    def find(self, task: Task) -> Execution | None:
        """The execution of the task's attempt, None if there is none."""
        machine = self._arn.replace(":stateMachine:", ":execution:")
        try:
            found = self._client.describe_execution(executionArn=f"{machine}:{task.execution_name}")
        except self._client.exceptions.ExecutionDoesNotExist:
            return None
        except (ClientError, BotoCoreError) as error:
            raise ServiceError(f"Step Functions tells nothing of task {task.task_id}") from error
        return Execution.model_validate(found)

    def wake(self, token: str) -> None:
        """End the wait that a task token belongs to, if it still lasts."""
        gone = self._client.exceptions
        try:
            self._client.send_task_success(taskToken=token, output="{}")
        except (gone.TaskTimedOut, gone.TaskDoesNotExist, gone.InvalidToken):
            return  # its timer was faster, and the loop is polling anyway
        except (ClientError, BotoCoreError) as error:
            raise ServiceError("Step Functions refused the token") from error

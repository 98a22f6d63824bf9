"""Step Functions as a promise test sees it: executions of the wait loop, a state at a time.

The flow is played by hand; Retry and the task token's update are read from the state machine's
file. `tests/wait_loop` executes the file itself.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from cutout.domain.errors import CutoutError
from cutout.domain.messages import WaitLoopState
from tests.support.fakes import DynamoDB, Errors, Execution, Functions, Killed, Run, States
from tests.support.harness import TABLE
from tests.support.template import state_machine

ASL = state_machine()["States"]


class WaitLoops:
    """All executions; `ended` are the events of those that ended badly, until they are taken.

    `poll` and `close` run the functions, `close` tells whether it came to its end.
    """

    def __init__(
        self,
        states: States,
        dynamodb: DynamoDB,
        functions: Functions,
        clock: Callable[[], datetime],
        poll: Callable[[str], WaitLoopState],
        close: Callable[[dict[str, Any], Run], bool],
    ) -> None:
        self._states = states
        self._dynamodb = dynamodb
        self._functions = functions
        self._clock = clock
        self._poll_once = poll
        self._close_task = close
        self.ended: list[dict[str, Any]] = []

    def running(self) -> list[Execution]:
        return [e for e in self._states.executions.values() if e.status == "RUNNING"]

    def step(self, execution: Execution, run: Run) -> None:
        """Take the wait loop one state further, if its time has come."""
        if execution.state == "What now?":
            self._decide(execution)
        elif self._clock() < execution.until:
            return
        elif execution.state == "Wait":
            execution.state, execution.token = "Poll", None
        elif execution.state == "Poll":
            self._poll(execution, run)
        else:
            self._close(execution, run)

    def _decide(self, execution: Execution) -> None:
        now = execution.input
        if now["status"] == "processing":
            execution.until = self._clock() + timedelta(seconds=now["wait_seconds"])
            execution.state = "Wait"
            if now["await_callback"]:
                self._leave_token(execution)
        elif now["status"] in {"completed", "superseded", "queued"}:
            execution.status = "SUCCEEDED"
        else:
            self._fail(execution, "TaskEndedElsewhere", f"the task is {now['status']}")

    def _leave_token(self, execution: Execution) -> None:
        execution.token = f"token-{len(self._states.executions)}-{self._clock().timestamp()}"
        names = {"$states.context.Task.Token": execution.token}
        try:
            self._update("Wait for callback", execution.input["task_id"], names)
        except Errors.ConditionalCheckFailedException:
            execution.state, execution.token = "Poll", None

    def _poll(self, execution: Execution, run: Run) -> None:
        try:
            with self._functions.running(run):
                result = self._poll_once(execution.input["task_id"])
        except Killed:
            self._failed(execution, "Runtime.ExitError", "killed")
            return
        except CutoutError as error:
            self._failed(execution, type(error).__name__, str(error))
            return
        if execution.state != "Poll":
            return  # another try was faster, and nobody waits for this answer
        execution.failures.clear()
        execution.input, execution.state = result.model_dump(mode="json"), "What now?"

    def _failed(self, execution: Execution, error: str, cause: str) -> None:
        if execution.state == "Poll" and not self._is_retried(execution, error):
            self._fail(execution, error, cause)

    def _fail(self, execution: Execution, error: str, cause: str) -> None:
        execution.state, execution.until = "Close", self._clock()
        execution.error, execution.cause = error, cause
        execution.failures.clear()

    def _is_retried(self, execution: Execution, error: str) -> bool:
        """Whether the state's own Retry takes the error, and if so, until when it waits."""
        for retrier in ASL[execution.state]["Retry"]:
            if error in retrier["ErrorEquals"]:
                failed = execution.failures.get(error, 0)
                execution.failures[error] = failed + 1
                longest = retrier.get("MaxDelaySeconds", 60)
                execution.until = self._clock() + timedelta(seconds=min(2 * 2**failed, longest))
                return bool(failed < retrier["MaxAttempts"])
        return False

    def _close(self, execution: Execution, run: Run) -> None:
        asked = {"name": execution.name, "error": execution.error, "cause": execution.cause}
        closed = self._close_task({"detail": {"status": "FAILED", **asked}}, run)
        if execution.status != "RUNNING":
            return
        # An error of Lambda's own is a States.TaskFailed, too.
        if closed or not self._is_retried(execution, "States.TaskFailed"):
            self.end(execution, "FAILED")

    def end(self, execution: Execution, status: str) -> None:
        execution.status = status
        detail = {"name": execution.name, "status": status}
        if status == "FAILED":
            detail |= {"error": execution.error, "cause": execution.cause}
        self.ended.append({"detail": detail})

    def _update(self, state: str, task_id: str, known: dict[str, str]) -> None:
        """The state's own DynamoDB integration, its JSONata names replaced."""
        asked = ASL[state]["Arguments"]
        values = {
            name: {"S": known.get(value["S"].strip("{}% "), value["S"])}
            for name, value in asked["ExpressionAttributeValues"].items()
        }
        self._dynamodb.update_item(
            TableName=TABLE,
            Key={"task_id": {"S": task_id}},
            UpdateExpression=asked["UpdateExpression"],
            ConditionExpression=asked["ConditionExpression"],
            ExpressionAttributeNames=asked["ExpressionAttributeNames"],
            ExpressionAttributeValues=values,
        )

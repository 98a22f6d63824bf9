"""What the functions of a stack have logged."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cutout.domain.tasks import Task
from cutout_cli.stacks import Stack
from cutout_cli.text import shown, when

_EARLIER = timedelta(minutes=1)  # clocks differ, and an event comes before its task
# Lambda's own lines about each run, and metrics: of no use to who looks for one image.
_PLATFORM = re.compile(r"(START|END|REPORT) RequestId|INIT_START|\{\"_aws\"")


@dataclass(frozen=True)
class LogLine:
    """One line of one function; `request_id` is that of the run, if the line names it."""

    at: datetime
    function: str
    level: str
    text: str
    request_id: str | None

    def text_line(self) -> str:
        return f"{when(self.at)}  {self.function:8} {self.level:8} {shown(self.text)}"

    def as_json(self) -> str:
        return json.dumps(asdict(self) | {"at": self.at.isoformat()})


class FunctionLogs:
    """The log groups of a stack."""

    def __init__(self, stack: Stack) -> None:
        self._client = stack.client("logs")
        self._groups = sorted(stack.of_type("AWS::Logs::LogGroup").values())

    def about(self, task: Task) -> list[LogLine]:
        """The lines that name a task, and the errors of the same runs, in order of time.

        Lambda logs an error without the task; the run's request id leads to it.
        """
        since = task.created_at - _EARLIER
        lines = list(self._lines(since, task.task_id))
        for run in {line.request_id for line in lines if line.request_id}:
            lines += self._lines(since, run)
        return sorted(set(lines), key=lambda line: line.at)

    def errors(self, since: datetime) -> list[LogLine]:
        """The errors since a time, in order of time."""
        lines = [line for line in self._lines(since, "ERROR") if line.level == "ERROR"]
        return sorted(lines, key=lambda line: line.at)

    def _lines(self, since: datetime, term: str) -> Iterator[LogLine]:
        pages = self._client.get_paginator("filter_log_events")
        for group in self._groups:
            for page in pages.paginate(
                logGroupName=group,
                startTime=int(since.timestamp() * 1000),
                filterPattern=f'"{term}"',
            ):
                for event in page["events"]:
                    if not _PLATFORM.match(event["message"]):
                        yield _line(group, event)


def _line(group: str, event: dict[str, Any]) -> LogLine:
    message = event["message"].strip()
    try:
        fields = json.loads(message)
    except ValueError:
        fields = {}
    return LogLine(
        at=datetime.fromtimestamp(event["timestamp"] / 1000, UTC),
        function=group.rpartition("/")[2],
        level=fields.get("level", ""),
        text=_text(fields) or message,
        request_id=fields.get("function_request_id"),
    )


def _text(fields: dict[str, Any]) -> str:
    """What a line of JSON says: its message, and an error's name and text."""
    error = fields.get("errorType") or fields.get("exception_name")
    said = str(fields.get("message", ""))
    what = fields.get("errorMessage") or _last_line(fields.get("exception"))
    return ": ".join(str(part) for part in (said, error, what) if part)


def _last_line(traceback: object) -> str:
    return str(traceback).rstrip().rpartition("\n")[2].partition(": ")[2] if traceback else ""

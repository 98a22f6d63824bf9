"""Does what the event says, to try what Lambda makes of it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from sharedcode import GREETING  # type: ignore[import-not-found]


class TemporarilyUnavailable(Exception):
    """An error that a state machine retries."""


def handler(event: dict[str, Any], context: Any) -> Any:
    print("checker:", event.get("say", ""))
    match event.get("do"):
        case "environment":
            return {"cwd": str(Path.cwd()), "path": sys.path, "pid": os.getpid(), **os.environ}
        case "context":
            return {
                "remaining": context.get_remaining_time_in_millis(),
                "arn": context.invoked_function_arn,
                "log": context.log_group_name,
            }
        case "raise":
            raise TemporarilyUnavailable(event["say"])
        case "sleep":
            time.sleep(event["seconds"])
        case "meet":
            meeting = Path(event["folder"])
            (meeting / str(os.getpid())).touch()
            while len(list(meeting.iterdir())) < 2:
                time.sleep(0.01)
        case "exit":
            os._exit(3)
    return {"greeting": GREETING, "event": event}

"""What goes on when a server with kept data is started again. AWS, never being restarted, has no
rule for it: this mends none of MiniStack's.
"""

import threading
from typing import Any

from ministack.services import stepfunctions, sts


def outlast() -> None:
    """Have running executions and temporary credentials outlast the next restart."""
    sts.get_state = lambda: {"sessions": dict(sts._sessions)}
    sts.load_persisted_state = lambda data: sts._sessions.update(data["sessions"])
    stepfunctions.load_persisted_state = _load_executions


def _load_executions(data: dict[str, Any]) -> None:
    """An execution that ran begins anew; MiniStack fails it.

    Its functions are invoked again, which those of a standard workflow must be ready for anyhow.
    """
    stepfunctions._restore_state(data)
    for execution in stepfunctions._executions.all_values():
        if execution.get("error") == "States.ServiceRestart":
            execution.update(status="RUNNING", stopDate=None)
            del execution["error"], execution["cause"]
            arn = execution["executionArn"]
            threading.Thread(target=stepfunctions._run_execution, args=(arn,), daemon=True).start()

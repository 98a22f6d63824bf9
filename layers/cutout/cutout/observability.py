"""The one logger, and the counts that alarms and dashboards read.

Service and namespace come from the POWERTOOLS_* variables that the template sets.
"""

import logging
from decimal import Decimal

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from cutout.domain.tasks import Status, Task

logger = Logger()
# httpx logs each request's URL at INFO, and an output's URL is a secret while it is served;
# botocore tells where it found its credentials.
for chatty in ("httpx", "botocore"):
    logging.getLogger(chatty).setLevel(logging.WARNING)


def count_woken(reason: str, tasks: int) -> None:
    """Count tasks that were due, as metric `TasksWoken` by reason."""
    _put("TasksWoken", tasks, reason=reason)


def count_recovered(tasks: int) -> None:
    """Count tasks that the clock took up again after a loss, as metric `TasksRecovered`."""
    _put("TasksRecovered", tasks)


def count_stuck(tasks: int) -> None:
    """Count executions that run long after their deadline, as metric `TasksStuck`."""
    _put("TasksStuck", tasks)


def count_task(status: Status) -> None:
    """Count one task that came into a status, as metric `TasksCompleted` and so on."""
    _put(f"Tasks{status.capitalize()}")


def count_reused() -> None:
    """Count one PNG that is a copy and cost nothing, as metric `TasksReused`."""
    _put("TasksReused")


def count_findings(kind: str, findings: int) -> None:
    """Count what a reconciliation found, as metric `Findings` by kind."""
    _put("Findings", findings, kind=kind)


def count_not_erased() -> None:
    """Count one result that the vendor was to delete and has not, as metric `TasksNotErased`."""
    _put("TasksNotErased")


def count_wait(code: str) -> None:
    """Count one task that has to wait, as metric `TasksWaiting`, by the code that says why."""
    _put("TasksWaiting", code=code)


def measure_open(status: Status, tasks: int) -> None:
    """How many tasks are in a status now, as metric `OpenTasks`."""
    _put("OpenTasks", tasks, status=status)


def measure_oldest(seconds: float) -> None:
    """How long the oldest task has waited for its turn, as metric `OldestWaitSeconds`."""
    _put("OldestWaitSeconds", seconds, MetricUnit.Seconds)


def measure_balance(usd: Decimal) -> None:
    """What the vendor's account holds, in USD, as metric `VendorBalance`."""
    _put("VendorBalance", float(usd), MetricUnit.NoUnit)


def measure_completed(task: Task) -> None:
    """How long a completed task took, from its claim to its PNG, and how many polls."""
    took = task.entered_at[Status.COMPLETED] - task.created_at
    _put("TaskSeconds", took.total_seconds(), MetricUnit.Seconds)
    _put("TaskPolls", task.polls)


def _put(
    name: str, value: float = 1, unit: MetricUnit = MetricUnit.Count, **dimensions: str
) -> None:
    with single_metric(name=name, unit=unit, value=value) as metric:
        for dimension, of in dimensions.items():
            metric.add_dimension(dimension, of)

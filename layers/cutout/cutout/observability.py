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
    with single_metric(name="TasksWoken", unit=MetricUnit.Count, value=tasks) as metric:
        metric.add_dimension("reason", reason)


def count_recovered(tasks: int) -> None:
    """Count tasks that the clock took up again after a loss, as metric `TasksRecovered`."""
    with single_metric(name="TasksRecovered", unit=MetricUnit.Count, value=tasks):
        pass


def count_stuck(tasks: int) -> None:
    """Count executions that run long after their deadline, as metric `TasksStuck`."""
    with single_metric(name="TasksStuck", unit=MetricUnit.Count, value=tasks):
        pass


def count_task(status: Status) -> None:
    """Count one task that came into a status, as metric `TasksCompleted` and so on."""
    with single_metric(name=f"Tasks{status.capitalize()}", unit=MetricUnit.Count, value=1):
        pass


def count_reused() -> None:
    """Count one PNG that is a copy and cost nothing, as metric `TasksReused`."""
    with single_metric(name="TasksReused", unit=MetricUnit.Count, value=1):
        pass


def count_findings(kind: str, findings: int) -> None:
    """Count what a reconciliation found, as metric `Findings` by kind."""
    with single_metric(name="Findings", unit=MetricUnit.Count, value=findings) as metric:
        metric.add_dimension("kind", kind)


def count_not_erased() -> None:
    """Count one result that the vendor was to delete and has not, as metric `TasksNotErased`."""
    with single_metric(name="TasksNotErased", unit=MetricUnit.Count, value=1):
        pass


def count_wait(code: str) -> None:
    """Count one task that has to wait, as metric `TasksWaiting`, by the code that says why."""
    with single_metric(name="TasksWaiting", unit=MetricUnit.Count, value=1) as metric:
        metric.add_dimension(name="code", value=code)


def measure_open(status: Status, tasks: int) -> None:
    """How many tasks are in a status now, as metric `OpenTasks`."""
    with single_metric(name="OpenTasks", unit=MetricUnit.Count, value=tasks) as metric:
        metric.add_dimension("status", status)


def measure_oldest(seconds: float) -> None:
    """How long the oldest task has waited for its turn, as metric `OldestWaitSeconds`."""
    with single_metric(name="OldestWaitSeconds", unit=MetricUnit.Seconds, value=seconds):
        pass


def measure_balance(usd: Decimal) -> None:
    """What the vendor's account holds, in USD, as metric `VendorBalance`."""
    with single_metric(name="VendorBalance", unit=MetricUnit.NoUnit, value=float(usd)):
        pass


def measure_completed(task: Task) -> None:
    """How long a completed task took, from its claim to its PNG, and how many polls."""
    took = task.entered_at[Status.COMPLETED] - task.created_at
    with single_metric(name="TaskSeconds", unit=MetricUnit.Seconds, value=took.total_seconds()):
        pass
    with single_metric(name="TaskPolls", unit=MetricUnit.Count, value=task.polls):
        pass

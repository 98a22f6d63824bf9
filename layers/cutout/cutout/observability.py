"""The one logger, and the counts that alarms and dashboards read.

Service and namespace come from the POWERTOOLS_* variables that the template sets.
"""

import logging

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from cutout.domain.tasks import Status

logger = Logger()
# httpx logs each request's URL at INFO, and an output's URL is a secret while it is served;
# botocore tells where it found its credentials.
for chatty in ("httpx", "botocore"):
    logging.getLogger(chatty).setLevel(logging.WARNING)


def count_task(status: Status) -> None:
    """Count one task that came into a status, as metric `TasksCompleted` and so on."""
    with single_metric(name=f"Tasks{status.capitalize()}", unit=MetricUnit.Count, value=1):
        pass

import json
import logging
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cutout import observability
from cutout.domain.tasks import Status
from tests.support.factories import NOON, make_task
from tests.support.template import template

SECRET_URL = "https://cdn.test/output.png?signature=secret"


def metrics(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, dict[str, str], str, float]]:
    """What CloudWatch makes of the output: namespace, dimensions, name and value of each metric.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [
        (directive["Namespace"], {name: said[name] for name in names}, metric["Name"], value)
        for said in documents
        for directive in said["_aws"]["CloudWatchMetrics"]
        for names in directive["Dimensions"]
        for metric in directive["Metrics"]
        for value in said[metric["Name"]]
    ]


@pytest.mark.parametrize("status", Status)
def test_a_task_is_counted_under_its_status(
    status: Status, capsys: pytest.CaptureFixture[str]
) -> None:
    observability.count_task(status)
    name = "Tasks" + status.value.title()
    assert metrics(capsys) == [("Cutout", {"service": "cutout-test"}, name, 1.0)]


def test_a_wait_is_counted_by_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    observability.count_wait("over_budget")
    by = {"service": "cutout-test", "code": "over_budget"}
    assert metrics(capsys) == [("Cutout", by, "TasksWaiting", 1.0)]


def test_a_completed_task_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    saved = {Status.COMPLETED: NOON + timedelta(seconds=90)}
    observability.measure_completed(make_task(created_at=NOON, entered_at=saved, polls=4))
    by = {"service": "cutout-test"}
    assert metrics(capsys) == [("Cutout", by, "TaskSeconds", 90), ("Cutout", by, "TaskPolls", 4)]


def alarm(name: str) -> dict[str, Any]:
    resources = template()["Resources"]
    properties: dict[str, Any] = resources[name]["Properties"]
    return properties


def test_the_alarm_reads_the_metric_that_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = template()["Globals"]["Function"]
    given = variables["Environment"]["Variables"]
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", given["POWERTOOLS_METRICS_NAMESPACE"])
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", json.dumps(given["POWERTOOLS_SERVICE_NAME"]))
    observability.count_task(Status.UNCERTAIN)
    ((namespace, dimensions, name, _),) = metrics(capsys)
    read = alarm("UncertainTasksAlarm")
    assert (read["Namespace"], read["MetricName"]) == (namespace, name)
    assert {d["Name"]: json.dumps(d["Value"]) for d in read["Dimensions"]} == dimensions


def test_urls_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        client.get(SECRET_URL)
    assert "secret" not in caplog.text


@pytest.mark.parametrize("name", ["httpx", "botocore", "botocore.credentials"])
def test_libraries_only_warn(name: str) -> None:
    assert logging.getLogger(name).getEffectiveLevel() == logging.WARNING

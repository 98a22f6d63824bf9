"""Bucket, ledger, outputs and the vendor are compared; what does not agree is told one by one."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest

from cutout.aws.listing import Listing
from cutout.backfill import Missing
from cutout.domain.errors import VendorUnavailable
from cutout.domain.messages import Cursor, FindingKind, PageAnswer, PageRequest, Pages
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout.reconcile import Reconciler
from cutout.settings import ReconcileSettings
from tests.support.harness import (
    BASE_URL,
    MODEL,
    PipelineHarness,
    accepted,
    answer,
    download,
    refused,
)
from tests.support.images import jpeg, png
from tests.unit.test_settings import RECONCILE

Reconcile = Callable[..., list[dict[str, Any]]]


def make_reconciler(harness: PipelineHarness, **settings: Any) -> Reconciler:
    given = {name.lower(): value for name, value in RECONCILE.items()}
    env = ReconcileSettings.model_validate(given | settings)
    return Reconciler(
        settings=env,
        listing=Listing(harness.s3, "uploads"),
        missing=Missing(env, harness.storage, harness.ledger),
        storage=harness.storage,
        ledger=harness.ledger,
        wavespeed=harness._wavespeed(),
        clock=harness._clock,
    )


@pytest.fixture
def reconciler(harness: PipelineHarness) -> Callable[..., Reconciler]:
    return partial(make_reconciler, harness)


@pytest.fixture
def found(
    reconciler: Callable[..., Reconciler],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> Reconcile:
    """What the log has after all pages from a cursor on; the counts say the same."""

    def every_page(pages: Pages, page_size: int = 1000, **cursor: Any) -> list[dict[str, Any]]:
        capsys.readouterr()
        caplog.clear()
        answer = PageAnswer(counts={}, cursor=Cursor(pages=pages, **cursor))
        counted = 0
        while answer.cursor:
            asked = PageRequest(cursor=answer.cursor, page_size=page_size, run="the-run")
            answer = reconciler().page(asked)
            counted += sum(answer.counts.get(kind, 0) for kind in FindingKind)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        measured = sum(line["Findings"][0] for line in lines if "Findings" in line)
        logged = [vars(record) for record in caplog.records]
        findings = [line["finding"] for line in logged if line.get("run") == "the-run"]
        assert counted == measured == len(findings)
        return findings

    return every_page


def prediction_of(key: str) -> str:
    """What the vendor calls it."""
    return key.rpartition("/")[2].partition(".")[0].rpartition(" ")[2]


def completed(harness: PipelineHarness, key: str) -> Task:
    """A task whose PNG is saved."""
    upload = harness.upload(jpeg(40, 30), key)
    output = answer(id=prediction_of(key), status="completed", outputs=[f"{BASE_URL}/out.png"])
    harness.answers = [accepted(prediction_of(key)), output, download(png(40, 30))]
    harness.submitter().submit(upload)
    harness.poller().poll(upload.task_id)
    return harness.task(upload)


def failed(harness: PipelineHarness, key: str) -> Task:
    """A task that the vendor had accepted."""
    upload = harness.upload(jpeg(40, 30), key)
    harness.answers = [accepted(prediction_of(key))]
    harness.submitter().submit(upload)
    return harness.ledger.move(harness.task(upload), Status.FAILED, harness.now, code="timed_out")


def test_where_all_agree_nothing_is_found(harness: PipelineHarness, found: Reconcile) -> None:
    assert completed(harness, "a.jpg").status is Status.COMPLETED

    assert found(Pages.UPLOADS) == []
    assert found(Pages.OUTPUTS) == []
    assert found(Pages.FAILED) == []


def test_an_upload_without_a_task_is_missing(harness: PipelineHarness, found: Reconcile) -> None:
    uploads = [harness.upload(jpeg(), f"{number}.jpg") for number in range(3)]
    completed(harness, "known.jpg")

    findings = found(Pages.UPLOADS, page_size=2)

    assert [(one["kind"], one["key"], one["task_id"]) for one in findings] == [
        ("missing", upload.key, upload.task_id) for upload in uploads
    ]


@pytest.mark.parametrize("versioned", [True, False])
def test_a_completed_task_without_its_png_is_found(
    harness: PipelineHarness, found: Reconcile, versioned: bool
) -> None:
    completed(harness, "whole.jpg")
    lost = completed(harness, "lost.jpg") if versioned else unversioned(harness, "lost.jpg")
    harness.s3.delete_object(Bucket="cutouts", Key=lost.output_key)

    (finding,) = found(Pages.UPLOADS)

    assert finding == {
        "kind": "output_missing",
        "key": "lost.jpg",
        "task_id": lost.task_id,
        "code": None,
        "output_key": "lost.jpg.png",
        "prediction_id": "p1",
    } | ({"prediction_id": "lost"} if versioned else {})


def unversioned(harness: PipelineHarness, key: str) -> Task:
    """A completed task of an upload without a version, which an event told of."""
    harness.s3.put_bucket_versioning(
        Bucket="uploads", VersioningConfiguration={"Status": "Suspended"}
    )
    made = harness.s3.put_object(Bucket="uploads", Key=key, Body=jpeg(40, 30))
    etag = made["ETag"].strip('"')
    upload = Upload(bucket="uploads", key=key, etag=etag, size=len(jpeg(40, 30)), sequencer="0A")
    harness.answers = [accepted()]
    harness.submitter().submit(upload, harness.now)
    return harness.ledger.move(harness.task(upload), Status.COMPLETED, harness.now)


def test_a_png_whose_upload_is_gone_is_left_over_and_somebody_elses_is_none(
    harness: PipelineHarness, found: Reconcile
) -> None:
    left = completed(harness, "ü left.jpg")
    completed(harness, "whole.jpg")
    harness.s3.put_object(Bucket="cutouts", Key="report.pdf", Body=b"%PDF")
    harness.s3.delete_object(Bucket="uploads", Key=left.key)

    (finding,) = found(Pages.OUTPUTS, page_size=1)

    assert (finding["kind"], finding["key"]) == ("output_left", "ü left.jpg")
    assert (finding["task_id"], finding["output_key"]) == (left.task_id, left.output_key)


def test_a_failed_task_whose_result_the_vendor_has_is_paid_and_not_fetched(
    harness: PipelineHarness, found: Reconcile
) -> None:
    kept, tasks = {"a/late.jpg"}, [failed(harness, f"a/{n}.jpg") for n in ("late", "bad", "gone")]
    failed(harness, "b/other.jpg")
    assert {task.key for task in tasks} > kept

    def says(request: httpx.Request) -> httpx.Response:
        prediction = request.url.path.removeprefix("/api/v3/predictions/").removesuffix("/result")
        if "gone" in prediction:
            return refused(404, "Prediction not found")
        return answer(id=prediction, status="completed" if "late" in prediction else "failed")

    harness.answers = [says] * 3

    findings = found(Pages.FAILED, page_size=2, prefix="a/")

    assert [(one["kind"], one["key"]) for one in findings] == [("not_fetched", "a/late.jpg")]
    assert harness.answers == []


def test_a_vendor_that_is_away_is_asked_again_by_the_machine(
    harness: PipelineHarness, reconciler: Callable[..., Reconciler]
) -> None:
    failed(harness, "a.jpg")
    harness.answers = [refused(500)] * 9

    with pytest.raises(VendorUnavailable):
        reconciler().page(PageRequest(cursor=Cursor(pages=Pages.FAILED), page_size=10))


def history(*items: dict[str, Any]) -> httpx.Response:
    told = [{"model": MODEL, "outputs": [], **item} for item in items]
    data = {"items": told, "total": len(told), "page": 1, "page_size": 100}
    return httpx.Response(200, json={"code": 200, "message": "success", "data": data})


def test_a_result_that_no_task_knows_is_nobodys(harness: PipelineHarness, found: Reconcile) -> None:
    completed(harness, "known")
    lately = (harness.now - timedelta(hours=2)).isoformat()
    asked: list[dict[str, Any]] = []

    def says(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        if len(asked) > 1:
            return history()
        states = {"known": "completed", "nobodys": "completed", "refunded": "failed"}
        return history(*({"id": i, "status": s, "created_at": lately} for i, s in states.items()))

    hours = 7 * 24
    harness.answers = [says] * hours

    findings = found(Pages.HISTORY)

    assert [(one["kind"], one["prediction_id"]) for one in findings] == [("unclaimed", "nobodys")]
    assert len(asked) == hours
    assert all(a["created_before"] == b["created_after"] for a, b in pairwise(asked))


def test_of_a_key_that_is_shared_the_history_says_nothing(
    harness: PipelineHarness, reconciler: Callable[..., Reconciler]
) -> None:
    shared = reconciler(key_is_dedicated=False)

    answered = shared.page(PageRequest(cursor=Cursor(pages=Pages.HISTORY), page_size=10))

    assert (answered.counts, answered.cursor) == ({"history": 0}, None)

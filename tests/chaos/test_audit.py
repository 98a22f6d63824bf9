"""The audit finds what is wrong, and the plan is what its seed makes it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest

from cutout.convert import upright
from cutout.domain.images import is_convertible
from cutout.domain.tasks import Status, Task, new_task
from cutout.domain.uploads import Upload
from cutout_local.wavespeed.faults import Fault
from tests.chaos.audit import (
    BILLED_TWICE,
    COPY_LEFT,
    LEAKED,
    LOST,
    PAID_FAILED,
    STUCK,
    UNACCOUNTED,
    UNEXPLAINED,
    WRONG_IMAGE,
    Audit,
    Evidence,
)
from tests.chaos.files import KINDS
from tests.chaos.leaks import Text, find_leaks
from tests.chaos.numbered_images import keep_colours, number_in
from tests.chaos.plan import EARLY, Plan, Planned, make_plan
from tests.chaos.stack import Png, is_open
from tests.support.template import resources

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLDER, NEWER = Planned("a", number=1), Planned("a", number=2)
LOST_ANSWER = Planned("b", number=3, faults=(Fault.SUBMIT_ACCEPTED_DROPPED,))
PDF = Planned("c", number=4, kind="PDF")


def upload_of(planned: Planned) -> Upload:
    version = f"v{planned.number}"
    return Upload(bucket="in", key=planned.key, version_id=version, etag="e", size=1)


def task_of(planned: Planned, status: Status, code: str | None = None) -> Task:
    task = new_task(upload_of(planned), "out", f"{planned.key}.png", "a/b", NOW, 30)
    prediction = f"p{planned.number}" if status is Status.COMPLETED else None
    return task.model_copy(update={"status": status, "code": code, "prediction_id": prediction})


def bill(planned: Planned, prediction: str) -> dict[str, Any]:
    return {
        "id": prediction,
        "image": f"/in/{planned.key}",
        "refunded": False,
        "status": "completed",
        "number": planned.number,
    }


def evidence() -> Evidence:
    """What a campaign of four uploads leaves when nothing is wrong."""
    uploads = [OLDER, NEWER, LOST_ANSWER, PDF]
    tasks = [
        task_of(OLDER, Status.COMPLETED),
        task_of(NEWER, Status.COMPLETED),
        task_of(LOST_ANSWER, Status.UNCERTAIN, "answer_lost"),
        task_of(PDF, Status.REJECTED, "unsupported_format"),
    ]
    return Evidence(
        plan=Plan(1, (tuple(uploads),), (), (), (), (), 0, 0),
        uploads={planned.number: upload_of(planned) for planned in uploads},
        tasks={task.task_id: task for task in tasks},
        pngs={f"{NEWER.key}.png": Png(2, upload_of(NEWER).task_id)},
        predictions=[bill(OLDER, "p1"), bill(NEWER, "p2"), bill(LOST_ANSWER, "p3")],
    )


def what(found: Evidence) -> list[str]:
    return [finding.what for finding in Audit(found).findings]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    audit = Audit(evidence())

    assert audit.findings == []
    assert (audit.settled_bills, audit.held_bills) == (2, 1)


def without_row(found: Evidence) -> None:
    del found.tasks[upload_of(PDF).task_id]


def still_open(found: Evidence) -> None:
    task = task_of(LOST_ANSWER, Status.PROCESSING)
    found.tasks[task.task_id] = task


def without_png(found: Evidence) -> None:
    found.pngs.clear()


def older_png(found: Evidence) -> None:
    found.pngs[f"{NEWER.key}.png"] = Png(1, upload_of(OLDER).task_id)


def unreadable_png(found: Evidence) -> None:
    found.pngs[f"{NEWER.key}.png"] = Png(None, upload_of(NEWER).task_id)


def stray_png(found: Evidence) -> None:
    found.pngs["stray.png"] = Png(9, "")


def two_bills(found: Evidence) -> None:
    found.predictions.append(bill(LOST_ANSWER, "p9"))


def unknown_bill(found: Evidence) -> None:
    found.predictions.append(bill(Planned("z", number=99), "p9"))


def bill_for_a_rejection(found: Evidence) -> None:
    found.predictions.append(bill(PDF, "p4"))


def failed_for_no_reason(found: Evidence) -> None:
    task = task_of(NEWER, Status.FAILED, "service_error")
    found.tasks[task.task_id] = task
    found.pngs[f"{NEWER.key}.png"] = Png(1, upload_of(OLDER).task_id)
    found.predictions.pop(1)


def stuck(found: Evidence) -> None:
    found.stuck.add(upload_of(LOST_ANSWER).task_id)


def paid_and_failed(found: Evidence) -> None:
    task = task_of(OLDER, Status.FAILED, "vendor_unavailable")
    found.tasks[task.task_id] = task.model_copy(update={"prediction_id": "p1"})
    found.pngs[f"{NEWER.key}.png"] = Png(2, upload_of(NEWER).task_id)


def leaked(found: Evidence) -> None:
    found.leaks.append("secret 0 in the item of a task")


def copy_left(found: Evidence) -> None:
    found.copies.add(upload_of(NEWER).task_id)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (without_row, [LOST]),
        (still_open, [LOST, UNACCOUNTED]),
        (without_png, [LOST, LOST]),
        (older_png, [WRONG_IMAGE]),
        (unreadable_png, [WRONG_IMAGE]),
        (stray_png, [WRONG_IMAGE]),
        (two_bills, [BILLED_TWICE]),
        (unknown_bill, [UNACCOUNTED]),
        (bill_for_a_rejection, [UNACCOUNTED]),
        (failed_for_no_reason, [UNEXPLAINED]),
        (stuck, [STUCK]),
        (paid_and_failed, [PAID_FAILED]),
        (leaked, [LEAKED]),
        (copy_left, [COPY_LEFT]),
    ],
)
def test_what_is_wrong_is_found(harm: Callable[[Evidence], None], expected: list[str]) -> None:
    found = evidence()
    harm(found)

    assert what(found) == expected


def test_a_finding_tells_where_to_look() -> None:
    found = evidence()
    still_open(found)

    text = str(Audit(found).findings[0])

    for word in (upload_of(LOST_ANSWER).task_id, "b.jpg", "processing", "submit-accepted-dropped"):
        assert word in text


@pytest.mark.parametrize("words", ["Bearer key of ours", "GET /cat.jpg?X-Amz-Signature=0 200"])
def test_a_secret_is_found_and_not_repeated(words: str) -> None:
    (leak,) = find_leaks([Text("item", "a task", words)], ["key of ours"])

    assert leak.endswith(" in the item of a task")
    assert "key of ours" not in leak
    assert find_leaks([Text("item", "a task", "all is well")], ["key of ours"]) == []


def test_the_seed_makes_the_plan() -> None:
    assert make_plan(50, 1) == make_plan(50, 1)
    assert make_plan(50, 1) != make_plan(50, 2)


def test_the_default_plan_has_every_kind_of_file_and_every_fault() -> None:
    plan = make_plan(300, 1)

    assert len(plan.uploads) == 300
    assert {planned.kind for planned in plan.uploads} == {"photo", *KINDS}
    assert {rule.fault for rule in plan.rules} == set(Fault)
    assert len({planned.key for planned in plan.uploads}) < 300


def test_every_function_of_the_template_is_killed_by_the_default_plan() -> None:
    killed = {kill.function for kill in make_plan(300, 1).kills}

    assert killed == set(resources("AWS::Serverless::Function"))


@pytest.mark.parametrize(
    ("status", "settles", "due_in", "expected"),
    [
        (Status.PROCESSING, False, timedelta(hours=1), True),
        (Status.COMPLETED, True, timedelta(), False),
        (Status.UNCERTAIN, True, timedelta(minutes=1), True),
        (Status.UNCERTAIN, True, timedelta(minutes=15), False),  # nobody could tell whose it was
        (Status.UNCERTAIN, False, timedelta(minutes=1), False),  # its grace time ends; it is held
    ],
)
def test_what_waits_for_a_person_is_not_open(
    status: Status, settles: bool, due_in: timedelta, expected: bool
) -> None:
    task = task_of(LOST_ANSWER, status).model_copy(update={"due_at": NOW + due_in})

    assert is_open(task, NOW, settles=settles) is expected


@pytest.mark.parametrize("seed", range(1, 9))
def test_the_first_uploads_come_before_eventbridge_listens(seed: int) -> None:
    early = make_plan(60, seed).early

    assert len(early) == EARLY
    assert all(upload.may_be_revised for upload in early)


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
def test_a_number_survives_the_conversion(kind: str) -> None:
    file = Planned("d", number=0xABCDE, kind=kind).body

    assert is_convertible(BytesIO(file))
    jpeg, media_type = upright(file, max_megapixels=2)
    assert (media_type, number_in(jpeg)) == ("image/jpeg", 0xABCDE)


def test_a_number_survives_the_engine_and_damage_is_noticed() -> None:
    png = keep_colours()(replace(OLDER, number=0xABCDE).body).png

    assert number_in(png) == 0xABCDE
    assert number_in(b"no image") is None
    assert number_in(Planned("d", number=1, kind="bomb of 30 megapixels").body) is None

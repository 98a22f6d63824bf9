"""Where uploads are, in a summary or a line each."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cutout.domain.tasks import Status
from cutout_cli.status import time_of
from tests.support.harness import NOW, PipelineHarness
from tests.support.images import jpeg
from tests.unit.cli.conftest import (
    FAILED,
    WAITING,
    Cutout,
    FakeStack,
)


def test_the_summary_counts_all_and_says_what_is_open(cutout: Cutout, upload: Any) -> None:
    upload("a.jpg")
    upload("b.jpg", *FAILED)
    upload("c.jpg", *WAITING)
    upload("d.jpg", Status.UNCERTAIN, "answer_lost", "nobody knows")

    told = cutout("status").stdout

    assert "1 completed" in told
    assert "open      1 task, the oldest of 2026-11-20 12:00:00 UTC" in told
    assert "at most 10 submitted" in told
    assert "today     $0 of $5" in told


def test_the_summary_for_programs(cutout: Cutout, upload: Any, harness: PipelineHarness) -> None:
    upload("c.jpg", *WAITING)
    today = datetime.now(UTC).date().isoformat()
    harness.table.update(
        "#governor",
        "SET spent_on = :day, spent = :spent",
        values={":day": today, ":spent": 120_000},
    )

    told = json.loads(cutout("status", "--json").stdout)

    assert told["by_status"] == {"queued": 1}
    assert told["oldest_open"] == "2026-11-20T12:00:00+00:00"
    assert (told["open"], told["spent_today"], told["daily_budget"]) == (1, "0.12", "5")
    finish = datetime.fromisoformat(told["expected_finish"]) - datetime.now(UTC)
    assert timedelta(0) < finish < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (["--failed"], ["a/b.jpg", "x.jpg"]),
        (["--open"], ["a/c.jpg"]),
        (["--open", "--failed"], ["a/b.jpg", "a/c.jpg", "x.jpg"]),
        (["--prefix", "a/"], ["a/a.jpg", "a/b.jpg", "a/c.jpg"]),
        (["--prefix", "a/", "--failed"], ["a/b.jpg"]),
        (["--failed", "--since", "1h"], []),
        (["--failed", "--since", "2026-11-20T11:59"], ["a/b.jpg", "x.jpg"]),
        (["a/c.jpg"], ["a/c.jpg"]),
    ],
)
def test_tasks_are_chosen(cutout: Cutout, upload: Any, options: list[str], keys: list[str]) -> None:
    upload("a/a.jpg")
    upload("a/b.jpg", *FAILED)
    upload("a/c.jpg", *WAITING)
    upload("x.jpg", *FAILED)

    lines = cutout("status", *options, "--json").stdout.splitlines()

    assert sorted(json.loads(line)["key"] for line in lines) == keys


def test_without_a_budget_what_the_vendor_accepted_today_is_spent(
    cutout: Cutout, upload: Any, stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.parameters["DailyBudget"] = "0"
    for key, fate in {"a.jpg": (), "b.jpg": FAILED, "c.jpg": WAITING}.items():
        upload(key, *fate)

    def spent(now: datetime) -> str:
        monkeypatch.setattr(
            "cutout_cli.commands.status.datetime", SimpleNamespace(now=lambda _: now)
        )
        return str(json.loads(cutout("status", "--json").stdout)["spent_today"])

    assert spent(NOW) == "0.02"
    assert spent(NOW + timedelta(days=1)) == "0.00"


def test_that_no_task_is_such_a_one_is_said(cutout: Cutout, stack: FakeStack) -> None:
    done = cutout("status", "--failed")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "there is no such task\n")


def test_a_key_is_not_asked_for_with_what_chooses_among_tasks(
    cutout: Cutout, stack: FakeStack
) -> None:
    done = cutout("status", "a.jpg", "--failed")

    assert done.exit_code == 2
    assert "a KEY shows all of its tasks" in done.stderr


def test_a_key_has_a_line_for_each_revision(
    cutout: Cutout, upload: Any, harness: PipelineHarness
) -> None:
    upload("a.jpg", *FAILED)
    harness.pass_time(60)
    upload("a.jpg", Status.COMPLETED, "", "")

    newest, oldest = cutout("status", "a.jpg").stdout.splitlines()

    assert newest.startswith("completed  2026-11-20 12:01:05 UTC  a.jpg")
    assert oldest == (
        "failed     2026-11-20 12:00:05 UTC  a.jpg: the vendor had no result (timed_out)"
    )


def test_a_key_that_is_not_there_has_neighbours(cutout: Cutout, upload: Any) -> None:
    upload("album/cat.jpg")

    done = cutout("status", "album/cat.jpeg")

    assert done.exit_code == 1
    assert "has no upload of 'album/cat.jpeg'; near it are: album/cat.jpg" in done.stderr


def test_an_object_whose_event_never_came_is_told_from_a_wrong_key(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack
) -> None:
    harness.upload(jpeg(), "early.jpg")

    assert "the bucket has it: its event has not come" in cutout("status", "early.jpg").stderr


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00+01:00", datetime(2026, 1, 31, 11, tzinfo=UTC)),
    ],
)
def test_a_time_is_an_age_or_iso_8601(text: str, time: datetime) -> None:
    assert time_of(text, NOW) == time


def test_a_time_that_is_none_is_a_usage_error(cutout: Cutout, stack: FakeStack) -> None:
    done = cutout("status", "--since", "yesterday")

    assert (done.exit_code, done.stdout) == (2, "")
    assert "'yesterday' is no time" in done.stderr


def test_the_summary_is_watched_until_ctrl_c(
    cutout: Cutout, upload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0)
    monkeypatch.setattr("cutout_cli.tasks.time", clock)

    done = cutout("status", "--watch", "--json")

    assert done.exit_code == 130
    assert len(done.stdout.splitlines()) == len(slept) == 2
    assert slept == [2, 2]


def test_an_object_can_be_named_by_its_url(cutout: Cutout, upload: Any) -> None:
    upload("a cat.jpg")

    told = cutout("status", "a cat.jpg").stdout

    assert "a cat.jpg" in told
    assert cutout("status", "s3://uploads/a cat.jpg").stdout == told

"""`cutout run` without its stack: what is told about photos, and what is never overwritten."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image

from cutout.domain.tasks import Confidence, Status, new_task
from cutout_cli import report
from cutout_cli.photos import Photo
from cutout_cli.sheet import draw
from cutout_cli.stacks import Stack
from cutout_cli.uploads import Job
from tests.support.harness import MODEL, PipelineHarness
from tests.support.images import jpeg, png
from tests.unit.cli.conftest import Cutout, Fates


@pytest.fixture
def photos(tmp_path: Path, cutout: Cutout) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for name in ("cat.jpg", "dog.jpg"):
        (folder / name).write_bytes(jpeg(40, 30))
    return folder


@pytest.fixture(autouse=True)
def local_stack(stack: Stack, fates: Fates, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The stack that is started is the one in memory; what it was started with."""
    started: dict[str, Any] = {}

    @contextmanager
    def start(**asked: Any) -> Iterator[Any]:
        started.update(asked)
        ready = SimpleNamespace(wait_for_remover=lambda: None)
        yield SimpleNamespace(wavespeed=ready, environment={})

    monkeypatch.setattr("cutout_cli.run.local_stack", start)
    monkeypatch.setattr("cutout_cli.run.local", lambda _environment: stack)
    return started


def test_each_photo_is_a_line_on_standard_output_whatever_its_length(
    cutout: Cutout, photos: Path
) -> None:
    long = photos / f"{'long' * 40}.jpg"
    long.write_bytes(jpeg())

    done = cutout("run", "album")

    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("done      album/") and "-> out/" in line for line in lines)
    assert all("(remover 2.5 s)" in line for line in lines)
    assert done.stderr.splitlines()[-1].startswith("3 photos: 3 done; ")
    assert (photos.parent / "out" / "cat.png").exists()


def test_every_kind_of_ending_is_in_the_summary_and_fails_the_run(
    cutout: Cutout, photos: Path, fates: Fates
) -> None:
    for name in ("bad.jpg", "lost.jpg", "poor.jpg"):
        (photos / name).write_bytes(jpeg())
    fates.by_key = {
        "bad.jpg": (Status.REJECTED, "unsupported_format", "it looks like application/pdf"),
        "lost.jpg": (Status.UNCERTAIN, "answer_lost", "nobody knows"),
        "poor.jpg": (Status.FAILED, "prediction_failed", "no subject was found"),
    }

    done = cutout("run", "album")

    assert done.exit_code == 1
    assert "2 done, 1 rejected, 1 uncertain, 1 failed" in done.stderr
    assert "rejected  album/bad.jpg: it looks like application/pdf (unsupported_format)" in (
        done.stdout.splitlines()
    )


def test_a_low_confidence_is_told(cutout: Cutout, photos: Path, fates: Fates) -> None:
    fates.confidence = Confidence.LOW

    done = cutout("run", "album/cat.jpg")

    assert "confidence low" in done.stdout
    assert "confidence is low, so look at: album/cat.jpg" in done.stderr


def test_without_a_confidence_none_is_told(cutout: Cutout, photos: Path) -> None:
    assert "confidence" not in cutout("run", "album/cat.jpg").stdout


def test_one_photo_is_told_step_by_step(cutout: Cutout, photos: Path) -> None:
    told = cutout("run", "album/cat.jpg").stderr

    for word in ("queue", "submit", "remove", "total", "is completed, attempt 1, 0 polls"):
        assert word in told


@pytest.mark.parametrize(
    ("submitted", "waited", "inference", "expected"),
    [
        (1, 9, 8, ("1.00", "8.00", "1.00")),
        (4, 0.5, 3.5, ("0.50", "3.50", "0.50")),  # in sync mode the answer has the result
        (90, 12, 100, ("0.00", "100.00", "2.00")),  # it came after the vendor's own wait
    ],
)
def test_no_step_takes_less_than_no_time(
    submitted: float,
    waited: float,
    inference: float,
    expected: tuple[str, str, str],
    harness: PipelineHarness,
    photos: Path,
) -> None:
    at = harness.now
    entered = {Status.QUEUED: at, Status.SUBMITTING: at}
    entered[Status.PROCESSING] = at + timedelta(seconds=submitted)
    entered[Status.COMPLETED] = entered[Status.PROCESSING] + timedelta(seconds=waited)
    upload = harness.upload(jpeg())
    task = new_task(upload, "cutouts", "cat.png", MODEL, at, 30).model_copy(
        update={
            "status": Status.COMPLETED,
            "entered_at": entered,
            "inference_ms": inference * 1000,
        }
    )
    photo = Photo(photos / "cat.jpg", "cat.jpg", "cat.png")
    job = Job(photo, task.task_id, uploaded_at=0, task=task, finished_at=submitted + waited + 1)

    table = report.steps(job)

    assert table
    steps, seconds = (list(column.cells) for column in table.columns[:2])
    told = dict(zip(steps, seconds, strict=True))
    assert (told["submit"], told["remove"], told["wait"]) == expected


def test_json_is_an_object_a_photo(cutout: Cutout, photos: Path) -> None:
    (line,) = cutout("run", "album/cat.jpg", "--json").stdout.splitlines()

    told = json.loads(line)
    assert told["confidence"] is None
    assert told["photo"] == "album/cat.jpg"
    assert (told["status"], told["code"], told["reason"]) == ("completed", None, None)
    assert (told["output_key"], told["inference_seconds"]) == ("cat.jpg.png", 2.5)
    assert Path(told["saved_to"]).name == "cat.png"


def test_a_wait_is_told_with_the_ledgers_reason_until_the_timeout(
    cutout: Cutout, photos: Path, fates: Fates
) -> None:
    reason = "the day's budget of $0.02 is spent; submits resume at 00:00 UTC"
    fates.by_key = {"dog.jpg": (Status.QUEUED, "over_budget", reason)}

    done = cutout("run", "album", "--timeout", "0.3")

    assert done.exit_code == 3
    assert done.stdout.count("\n") == 1
    assert f"queued    album/dog.jpg: {reason} (over_budget)" in done.stderr
    assert f"nothing has changed for 0.3 s (--timeout); dog.jpg is queued: {reason}" in done.stderr
    assert "2 photos: 1 done, 1 still queued" in done.stderr


@pytest.mark.parametrize("name", ["[bold]y.jpg", "a[/b].jpg", ":smile:.jpg", "new\nline.jpg"])
def test_a_file_name_is_text(cutout: Cutout, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(jpeg())

    done = cutout("run", name)

    assert done.exit_code == 0
    (line,) = done.stdout.splitlines()
    assert name.replace("\n", "\\n") in line


def test_a_photo_is_never_replaced_by_its_own_output(cutout: Cutout, tmp_path: Path) -> None:
    photo = tmp_path / "mine.png"
    photo.write_bytes(b"the only copy")

    done = cutout("run", "mine.png", "--out", ".", "--force")

    assert done.exit_code == 1
    assert "mine.png is one of the photos and would be replaced" in done.stderr
    assert photo.read_bytes() == b"the only copy"


def test_a_file_that_is_there_is_replaced_by_force_alone(
    cutout: Cutout, photos: Path, tmp_path: Path, local_stack: dict[str, Any]
) -> None:
    earlier = tmp_path / "out" / "cat.png"
    earlier.parent.mkdir()
    earlier.write_bytes(b"earlier")

    refused = cutout("run", "album/cat.jpg")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "out/cat.png: is there already; add --force to replace" in refused.stderr
    assert (earlier.read_bytes(), local_stack) == (b"earlier", {})

    assert cutout("run", "album/cat.jpg", "--force").exit_code == 0
    assert earlier.read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_made_is_named_before_anything_starts(
    cutout: Cutout, photos: Path, tmp_path: Path, local_stack: dict[str, Any]
) -> None:
    (tmp_path / "file").write_text("")

    done = cutout("run", "album", "--out", "file/out")

    assert (done.exit_code, local_stack) == (1, {})
    assert "cannot make file/out" in done.stderr


def test_what_came_under_the_name_meanwhile_stays(
    cutout: Cutout, photos: Path, tmp_path: Path, fates: Fates
) -> None:
    meanwhile = tmp_path / "out" / "cat.png"

    def appear(**_: Any) -> None:
        meanwhile.write_bytes(b"from another run")

    fates.harness.on(fates.harness.s3, "before-call.s3.PutObject", appear)

    done = cutout("run", "album/cat.jpg")

    assert done.exit_code == 0
    assert "album/cat.jpg -> out/cat-2.png" in done.stdout
    assert meanwhile.read_bytes() == b"from another run"
    assert {file.name for file in meanwhile.parent.iterdir()} == {"cat.png", "cat-2.png"}


def test_what_cannot_be_saved_is_told_and_the_others_are_saved(
    cutout: Cutout, photos: Path, tmp_path: Path
) -> None:
    (photos / "more").mkdir()
    (photos / "more" / "fox.jpg").write_bytes(jpeg())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "more").write_text("a file where a folder would be")

    done = cutout("run", "album")

    assert done.exit_code == 1
    (line,) = (line for line in done.stdout.splitlines() if "fox" in line)
    assert line.startswith("completed album/more/fox.jpg: not saved: ")
    assert line.endswith("/out/more: File exists")
    assert "3 photos: 2 done, 1 not saved" in done.stderr
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"cat.png", "dog.png", "more"}


def test_a_name_may_be_as_long_as_the_file_system_allows(
    cutout: Cutout, photos: Path, tmp_path: Path
) -> None:
    longest = "n" * 251
    (photos / f"{longest}.jpg").write_bytes(jpeg())

    assert cutout("run", f"album/{longest}.jpg").exit_code == 0
    assert (tmp_path / "out" / f"{longest}.png").exists()


def test_a_run_uploads_under_the_input_prefix(
    cutout: Cutout, photos: Path, fates: Fates, tmp_path: Path
) -> None:
    assert cutout("run", "album", "-p", "InputPrefix=in/").exit_code == 0

    keys = fates.harness.s3.list_objects_v2(Bucket="uploads")["Contents"]
    assert [key["Key"] for key in keys] == ["in/cat.jpg", "in/dog.jpg"]
    assert (tmp_path / "out" / "cat.png").exists()


def test_a_run_has_no_bucket_to_find(cutout: Cutout, photos: Path) -> None:
    done = cutout("run", "album", "-p", "ExistingInputBucket=mine")

    assert done.exit_code == 2
    assert "starts a new account" in done.stderr


def test_a_sheet_shows_what_was_saved(cutout: Cutout, photos: Path, tmp_path: Path) -> None:
    done = cutout("run", "album", "--sheet", "out/sheet.jpg")

    assert done.exit_code == 0
    assert "contact sheet: out/sheet.jpg" in done.stderr
    assert (tmp_path / "out" / "sheet.jpg").read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("sheet", "code", "text"),
    [
        ("sheet.gif", 2, "a sheet is a .jpg or a .png"),
        ("out/cat.png", 1, "out/cat.png is one of the photos or PNGs"),
        ("album/cat.jpg", 1, "album/cat.jpg is one of the photos or PNGs"),
        ("album/notes.png", 1, "album/notes.png is there already"),
    ],
)
def test_a_sheet_takes_no_files_place(
    cutout: Cutout, photos: Path, local_stack: dict[str, Any], sheet: str, code: int, text: str
) -> None:
    (photos / "notes.png").write_bytes(b"the only copy")

    done = cutout("run", "album/cat.jpg", "--sheet", sheet)

    assert (done.exit_code, local_stack) == (code, {})
    assert text in done.stderr


def test_a_sheet_of_many_photos_is_about_as_wide_as_high(
    cutout: Cutout, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutout_cli.sheet.CELL", 60)
    job = Job(Photo(photos / "cat.jpg", "", ""), "", 0, saved_to=tmp_path / "cat.png")
    (tmp_path / "cat.png").write_bytes(png(8, 6))

    draw([job] * 72, tmp_path / "sheet.png")

    with Image.open(tmp_path / "sheet.png") as drawn:
        assert 0.5 < drawn.width / drawn.height < 2


def test_a_photo_that_pillow_cannot_read_leaves_its_place_on_the_sheet_empty(
    cutout: Cutout, photos: Path, tmp_path: Path
) -> None:
    (photos / "cat.jpg").write_bytes(jpeg(40, 30)[:-200])

    done = cutout("run", "album/cat.jpg", "--sheet", "sheet.png")

    assert done.exit_code == 0
    assert (tmp_path / "sheet.png").exists()


def test_the_log_of_a_crashing_function_is_told_once_while_nothing_moves(
    cutout: Cutout, photos: Path, fates: Fates, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fates.by_key = {"cat.jpg": (Status.PROCESSING, "", "")}
    monkeypatch.setattr("cutout_cli.deliver.QUIET", 0.0)
    line = SimpleNamespace(function="submit", text="KeyError: 'TASKS_TABLE'")
    monkeypatch.setattr("cutout_cli.deliver.FunctionLogs.errors", lambda *_: [line, line])

    done = cutout("run", "album/cat.jpg", "--timeout", "0.5")

    assert done.exit_code == 3
    assert done.stderr.count("log of submit: KeyError: 'TASKS_TABLE'") == 1


def test_who_may_not_read_logs_may_wait_all_the_same(
    cutout: Cutout, photos: Path, fates: Fates, monkeypatch: pytest.MonkeyPatch
) -> None:
    fates.by_key = {"cat.jpg": (Status.PROCESSING, "", "")}

    def denied(*_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "FilterLogEvents")

    monkeypatch.setattr("cutout_cli.deliver.FunctionLogs.errors", denied)

    assert cutout("run", "album/cat.jpg", "--timeout", "0.1").exit_code == 3


def test_a_sample_is_cut_out_without_a_photo(cutout: Cutout) -> None:
    assert "coffee.jpg -> out/coffee.png" in cutout("run").stdout

"""What the terminal of `cutout up` shows."""

from cutout.domain.tasks import Status
from cutout_cli.tell_tasks import news
from tests.support.harness import PipelineHarness
from tests.support.images import jpeg
from tests.unit.cli.conftest import CloudFormation, FakeStack, Fates


def test_what_ended_or_waits_is_told_once(
    harness: PipelineHarness, stack: FakeStack, fates: Fates
) -> None:
    fates.by_key = {
        "wait.jpg": (Status.QUEUED, "over_budget", "the day's budget is spent"),
        "work.jpg": (Status.PROCESSING, "", ""),
    }
    told: dict[str, str] = {}
    for key in ("done.jpg", "wait.jpg", "work.jpg"):
        harness.upload(jpeg(), key)

    assert sorted(news(stack, told)) == [
        "completed  2026-11-20 12:00:05 UTC  done.jpg",
        "queued     2026-11-20 12:00:00 UTC  wait.jpg: the day's budget is spent (over_budget)",
    ]
    assert list(news(stack, told)) == []


def test_a_stack_that_was_deleted_has_no_news(
    stack: FakeStack, cloudformation: CloudFormation
) -> None:
    cloudformation.outputs = {}

    assert list(news(stack, {})) == []

from cutout.store.latencies import Latencies
from tests.support.factories import MODEL, make_task
from tests.support.harness import PipelineHarness


def test_nothing_is_known_at_first(harness: PipelineHarness) -> None:
    assert Latencies(harness.table).recent(MODEL) == []


def test_latencies_are_kept_in_seconds_and_per_model(harness: PipelineHarness) -> None:
    latencies = Latencies(harness.table)

    latencies.remember(make_task(task_id="0" * 32), 1500)
    latencies.remember(make_task(task_id="0" * 31 + "1"), 20)
    latencies.remember(make_task(task_id="0" * 32, model="other"), 7000)

    assert sorted(latencies.recent(MODEL)) == [0.02, 1.5]
    assert latencies.recent("other") == [7.0]


def test_a_latency_told_twice_counts_once(harness: PipelineHarness) -> None:
    latencies, task = Latencies(harness.table), make_task()

    latencies.remember(task, 1500)
    latencies.remember(task, 1500)

    assert latencies.recent(MODEL) == [1.5]


def test_only_so_many_are_kept(harness: PipelineHarness) -> None:
    latencies = Latencies(harness.table)

    for number in range(60):
        latencies.remember(make_task(task_id=f"{number:032x}"), 1000 + number)

    recent = latencies.recent(MODEL)
    assert len(recent) == 50
    assert 1.059 in recent
    assert 1.0 not in recent


def test_they_expire_with_the_task(harness: PipelineHarness) -> None:
    task = make_task()

    Latencies(harness.table).remember(task, 1500)

    item = harness.table.get(f"#latencies#{MODEL}")
    assert item is not None
    assert item["expires_at"] == task.expires_at

"""What a server knows of the tasks of the one before it, of the same folder."""

from pathlib import Path

import pytest

from cutout_local.wavespeed.errors import ExecutionFailed
from tests.unit.wavespeed_server.harness import HOOK, PNG, serve
from tests.unit.wavespeed_server.test_server_uploads import put, ticket

pytestmark = pytest.mark.anyio


async def test_predictions_results_and_bills_outlast_the_server(tmp_path: Path) -> None:
    async with serve(tmp_path) as first:
        done = await first.run()
        first.clock.advance(seconds=1)
        first.remover.failure = ExecutionFailed("no")
        failed = await first.run(webhook=HOOK)
        billed, balance = await first.billed_tasks(), await first.balance()

    async with serve(tmp_path) as second:
        assert await second.result(done["id"]) == done
        assert (await second.client.get(done["outputs"][0])).content == PNG
        assert await second.result(failed["id"]) == failed
        assert await second.billed_tasks() == billed
        assert await second.balance() == balance
        assert second.remover.sources == []


async def test_what_had_not_ended_is_worked_on_again(tmp_path: Path) -> None:
    async with serve(tmp_path) as first:
        first.remover.hold()
        open_task = (await first.submit()).json()["data"]["id"]
        await first.wait_for(open_task, "processing")

    async with serve(tmp_path) as second:
        done = await second.wait_for(open_task, "completed")
        assert (await second.client.get(done["outputs"][0])).content == PNG
        assert len(await second.billed_tasks()) == 1


async def test_what_was_deleted_stays_deleted(tmp_path: Path) -> None:
    async with serve(tmp_path) as first:
        gone = (await first.run())["id"]
        path = "/api/v3/predictions/delete"
        deleted = await first.client.post(path, json={"ids": [gone]})
        assert deleted.status_code == 200, deleted.text

    async with serve(tmp_path) as second:
        answer = await second.client.get(f"/api/v3/predictions/{gone}/result")
        assert answer.status_code == 404
        assert len(await second.billed_tasks()) == 1


async def test_the_books_hold_no_more_tasks_than_the_server(tmp_path: Path) -> None:
    async with serve(tmp_path, max_tasks=2) as first:
        for _ in range(3):
            await first.run()
            first.clock.advance(seconds=1)
        billed = await first.billed_tasks()

    async with serve(tmp_path, max_tasks=2) as second:
        assert len(billed) == 2
        assert await second.billed_tasks() == billed


async def test_uploads_outlast_the_server(tmp_path: Path) -> None:
    async with serve(tmp_path) as first:
        come, announced = await ticket(first), await ticket(first)
        assert (await put(first, come["upload"], b"the cat")).status_code == 200

    async with serve(tmp_path) as second:
        answer = await second.client.get(come["download_url"])
        assert (answer.content, answer.headers["content-type"]) == (b"the cat", "image/jpeg")
        assert (await put(second, come["upload"], b"the dog")).status_code == 404
        assert (await put(second, announced["upload"], b"the dog")).status_code == 200
        assert (await second.client.get(announced["download_url"])).content == b"the dog"


async def test_an_upload_expires_when_it_would_have_without_the_restart(tmp_path: Path) -> None:
    async with serve(tmp_path) as first:
        old = await ticket(first)
        assert (await put(first, old["upload"], b"the cat")).status_code == 200

    async with serve(tmp_path) as second:
        second.clock.advance(days=7)
        assert (await second.client.get(old["download_url"])).status_code == 404
        new = await ticket(second)
        assert len(list(tmp_path.iterdir())) == 1  # the new ticket

    async with serve(tmp_path) as third:
        third.clock.advance(days=7)
        assert (await third.client.get(old["download_url"])).status_code == 404
        assert (await put(third, new["upload"], b"the dog")).status_code == 200


async def test_the_oldest_files_go_first_whichever_server_took_them(tmp_path: Path) -> None:
    """Uploads and outputs have one limit."""
    async with serve(tmp_path) as first:
        upload = await ticket(first)
        assert (await put(first, upload["upload"], b"the cat")).status_code == 200
        first.clock.advance(seconds=1)
        output = (await first.run())["outputs"][0]

    async with serve(tmp_path, max_stored_bytes=2 * len(PNG)) as second:
        second.clock.advance(seconds=2)
        await second.run()
        assert (await second.client.get(upload["download_url"])).status_code == 404
        assert (await second.client.get(output)).status_code == 200

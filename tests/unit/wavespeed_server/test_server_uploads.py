from typing import Any

import httpx
import pytest

from tests.unit.wavespeed_server.harness import Api, serve

pytestmark = pytest.mark.anyio


async def ticket(api: Api, **request: object) -> dict[str, Any]:
    body = {"filename": "cat.jpg", "size": 7, "content_type": "image/jpeg", **request}
    answer = await api.client.post("/api/v3/media/uploads", json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def put(api: Api, upload: dict[str, Any], content: bytes, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=api.client._transport) as keyless:
        return await keyless.put(
            upload["url"], content=content, headers={**upload["headers"], **headers}
        )


async def test_an_announced_file_is_put_and_can_be_downloaded(api: Api) -> None:
    data = await ticket(api)
    assert (data["type"], data["filename"], data["size"]) == ("image", "cat.jpg", 7)
    assert data["upload"]["method"] == "PUT"
    assert data["upload"]["headers"] == {"Content-Type": "image/jpeg"}
    assert (await api.client.get(data["download_url"])).status_code == 404
    assert (await put(api, data["upload"], b"the cat")).status_code == 200
    answer = await api.client.get(data["download_url"])
    assert (answer.content, answer.headers["content-type"]) == (b"the cat", "image/jpeg")


async def test_a_file_is_put_once(api: Api) -> None:
    data = await ticket(api)
    assert (await put(api, data["upload"], b"the cat")).status_code == 200
    assert (await put(api, data["upload"], b"the dog")).status_code == 404


async def test_the_put_must_carry_exactly_the_headers_it_was_given(api: Api) -> None:
    upload = (await ticket(api))["upload"]
    wrong_type = await put(api, upload, b"the cat", **{"Content-Type": "image/png"})
    assert wrong_type.status_code == 400
    with_key = await put(api, upload, b"the cat", Authorization="Bearer test-key")
    assert with_key.status_code == 400


async def test_the_put_must_have_the_announced_size(api: Api) -> None:
    data = await ticket(api)
    assert (await put(api, data["upload"], b"cat")).status_code == 400
    assert (await api.client.get(data["download_url"])).status_code == 404


async def test_a_form_upload_can_be_downloaded(api: Api) -> None:
    files = {"file": ("cat.jpg", b"the cat", "image/jpeg")}
    answer = await api.client.post("/api/v3/media/upload/binary", files=files)
    data = answer.json()["data"]
    assert (data["type"], data["filename"], data["size"]) == ("image", "cat.jpg", 7)
    assert (await api.client.get(data["download_url"])).content == b"the cat"


async def test_files_beyond_the_limit_are_refused_in_both_forms() -> None:
    async with serve(max_image_bytes=5) as api:
        announced = await api.client.post(
            "/api/v3/media/uploads", json={"filename": "cat.jpg", "size": 6}
        )
        assert announced.status_code == 400
        files = {"file": ("cat.jpg", b"the cat", "image/jpeg")}
        form = await api.client.post("/api/v3/media/upload/binary", files=files)
        assert form.status_code == 400


async def test_a_content_type_that_is_none_is_refused(api: Api) -> None:
    body = {"filename": "cat.jpg", "size": 7, "content_type": "image/jpeg\r\nx-evil: 1"}
    assert (await api.client.post("/api/v3/media/uploads", json=body)).status_code == 400


async def test_a_form_without_the_file_is_400(api: Api) -> None:
    answer = await api.client.post("/api/v3/media/upload/binary", files={"other": b"x"})
    assert answer.status_code == 400


async def test_uploads_expire_after_the_retention_time(api: Api) -> None:
    data = await ticket(api)
    await put(api, data["upload"], b"the cat")
    api.clock.advance(days=7)
    assert (await api.client.get(data["download_url"])).status_code == 404
    await ticket(api)
    assert (await api.client.get(data["download_url"])).status_code == 404


async def test_an_upload_that_is_not_put_within_an_hour_is_over(api: Api) -> None:
    data = await ticket(api)
    api.clock.advance(hours=1)
    assert (await put(api, data["upload"], b"the cat")).status_code == 404

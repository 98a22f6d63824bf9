import httpx
import pytest

from tests.unit.wavespeed_server.harness import IMAGE, Api, serve

pytestmark = pytest.mark.anyio

METADATA = "http://169.254.169.254/latest/meta-data/"
LINK_LOCAL = [
    METADATA,
    "http://169.254.1.1.test/cat.jpg",
    "http://[fe80::1]/cat.jpg",
    "http://[::ffff:169.254.169.254]/cat.jpg",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine",
]


@pytest.mark.parametrize("url", LINK_LOCAL)
async def test_a_link_local_address_is_not_asked(api: Api, url: str) -> None:
    data = await api.run(url)
    assert (data["status"], data["code"]) == ("failed", 1402)
    assert data["error"] == (
        "the image is not fetched: the host's address is link-local or of a metadata service"
    )
    assert api.network.asked == []


async def test_a_redirect_to_a_link_local_address_is_not_followed(api: Api) -> None:
    api.network.answers["/bucket/cat.jpg"] = httpx.Response(302, headers={"location": METADATA})
    assert (await api.run())["code"] == 1402
    assert [request.url.host for request in api.network.asked] == ["images.test"]


async def test_a_webhook_does_not_go_to_a_link_local_address() -> None:
    async with serve(webhook_backoff=0.001) as api:
        await api.run(webhook=METADATA)
        assert [request.url.host for request in api.network.asked] == ["images.test"]
        assert api.network.hooks == []


async def test_whoever_needs_link_local_addresses_can_allow_them() -> None:
    async with serve(fetch_link_local=True) as api:
        assert (await api.run(METADATA))["status"] == "completed"


@pytest.mark.parametrize("host", ["127.0.0.1:5566", "[::1]:5566", "10.0.0.7", "images.test"])
async def test_this_machine_and_its_network_are_asked(api: Api, host: str) -> None:
    assert (await api.run(f"http://{host}/cat.jpg"))["status"] == "completed"


@pytest.mark.parametrize(
    "target",
    ["/bucket/../up.jpg?X-Amz-Signature=1", "/bucket/./a//b%2Fc.jpg", "/bucket/%2E%2E/x?", "/"],
)
async def test_the_path_is_asked_for_as_it_is_written(api: Api, target: str) -> None:
    await api.run(f"https://images.test{target}")
    (request,) = api.network.asked
    assert request.extensions["target"].decode() == target.removesuffix("?")


async def test_a_redirect_is_asked_for_at_its_own_path(api: Api) -> None:
    api.network.answers["/bucket/cat.jpg"] = httpx.Response(302, headers={"location": "/other.jpg"})
    assert (await api.run())["status"] == "completed"
    first, second = api.network.asked
    assert first.extensions["target"].decode() == IMAGE.removeprefix("https://images.test")
    assert "target" not in second.extensions
    assert second.url.path == "/other.jpg"


async def test_a_path_that_is_not_ascii_is_encoded(api: Api) -> None:
    assert (await api.run("https://images.test/bücket/cat.jpg"))["status"] == "completed"
    (request,) = api.network.asked
    assert request.url.raw_path == b"/b%C3%BCcket/cat.jpg"

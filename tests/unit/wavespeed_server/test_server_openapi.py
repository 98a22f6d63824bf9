import re
from typing import Any

import pytest

from cutout_local.wavespeed.faults import Fault
from tests.unit.wavespeed_server.harness import SUBMIT, Api

pytestmark = pytest.mark.anyio


async def schema(api: Api) -> dict[str, Any]:
    document: dict[str, Any] = (await api.client.get("/openapi.json")).json()
    return document


async def test_the_docs_are_served_and_need_no_other_host(api: Api) -> None:
    root = await api.client.get("/")
    assert (root.status_code, root.headers["location"]) == (307, "/docs")
    answer = await api.client.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert {url.rpartition(".")[2] for url in loaded} == {"js", "css", "png"}
    for url in loaded:
        assert url.startswith("/docs/")
        assert (await api.client.get(url)).status_code == 200


async def test_the_submit_documents_every_answer_it_gives(api: Api) -> None:
    submit = (await schema(api))["paths"][SUBMIT]["post"]
    assert set(submit["responses"]) == {"200", "400", "401", "429", "500", "502", "504"}
    assert submit["security"] == [{"HTTPBearer": []}]


async def test_validation_errors_are_documented_as_400_and_never_as_422(api: Api) -> None:
    paths = (await schema(api))["paths"].values()
    assert not any("422" in op["responses"] for path in paths for op in path.values())


async def test_every_fault_is_explained_in_the_docs(api: Api) -> None:
    description = (await schema(api))["info"]["description"]
    assert [fault for fault in Fault if f"- `{fault}`: {fault.sentence}" not in description] == []

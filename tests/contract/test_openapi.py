"""Schemathesis against the server's own OpenAPI: no server error, no undocumented answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cutout_local.wavespeed.app import create_app
from cutout_local.wavespeed.settings import Settings
from cutout_local.wavespeed.worker import Outcome
from tests.contract.harness import KEY, MODEL, ServerHarness, serve
from tests.support import engines

Case = schemathesis.Case[Any]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

# Seeded by the test's name; found failures are printed, not stored.
bounded = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def fuzzed_server() -> Iterator[ServerHarness]:
    with serve(sync_wait=0.2) as running:
        yield running


@pytest.fixture(scope="module")
def real(fuzzed_server: ServerHarness) -> dict[str, str]:
    """Values that exist, which no generator would guess."""
    image = fuzzed_server.upload(engines.make_image())
    task_id = fuzzed_server.submit(image).json()["data"]["id"]
    upload_id = image.rsplit("/", 1)[1]
    return {"image": image, "task_id": task_id, "upload_id": upload_id, "model_id": MODEL}


def check(case: Case, server: ServerHarness, key: str = KEY) -> None:
    headers = {"authorization": f"Bearer {key}"}
    case.call_and_validate(base_url=server.url, headers=headers, checks=CHECKS)


async def no_work(_source: Path, _target: Path) -> Outcome:
    raise AssertionError("only the schema is wanted")


document = create_app(Settings(api_key=KEY), no_work).openapi()
operations = schemathesis.openapi.from_dict(document)
faults = operations.include(path="/_faults", method="PUT")
# Without that one: faults that the fuzzer sets would be found as faults. Another key would shut out
# all other tests.
schema = operations.exclude(path="/_faults", method="PUT").exclude(path="/_key")


@schema.parametrize()
@bounded
def test_every_answer_is_documented(case: Case, fuzzed_server: ServerHarness) -> None:
    check(case, fuzzed_server)


@schema.parametrize()
@bounded
def test_every_answer_is_documented_for_things_that_exist(
    case: Case, fuzzed_server: ServerHarness, real: dict[str, str]
) -> None:
    body = case.body if isinstance(case.body, dict) else {}
    for place in (case.path_parameters, body):
        place.update({name: value for name, value in real.items() if name in place})
    check(case, fuzzed_server)


@schema.parametrize()
@settings(bounded, max_examples=2)
def test_every_answer_without_a_key_is_documented(case: Case, fuzzed_server: ServerHarness) -> None:
    check(case, fuzzed_server, key="wrong")


@faults.parametrize()
@bounded
def test_faults_can_be_set_to_whatever_the_schema_allows(
    case: Case, fuzzed_server: ServerHarness
) -> None:
    check(case, fuzzed_server)
    fuzzed_server.set_faults()

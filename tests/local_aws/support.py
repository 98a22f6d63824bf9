"""What the tests of the local stack share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cutout_local.aws import LocalAws

TEMPLATE = Path(__file__).parent / "app" / "template.yaml"
PARAMETERS = {"SecretName": "api-key"}
SECRETS = {"api-key": "s3cret"}

T = TypeVar("T")


def eventually(look: Callable[[], T | None], seconds: float = 20) -> T:
    """What `look` returns, once that is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def invoke(aws: LocalAws, payload: dict[str, Any], function: str = "Checker") -> dict[str, Any]:
    """The answer's payload, with the answer's FunctionError under that name."""
    answer = aws.client("lambda").invoke(
        FunctionName=aws.outputs[function], Payload=json.dumps(payload)
    )
    body: dict[str, Any] = json.load(answer["Payload"])
    return {**body, "FunctionError": answer.get("FunctionError")}


def kept_items(aws: LocalAws) -> list[dict[str, Any]]:
    """What the functions put into the table."""
    items = aws.client("dynamodb").scan(TableName=aws.outputs["Table"])["Items"]
    return [{name: value["S"] for name, value in item.items()} for item in items]

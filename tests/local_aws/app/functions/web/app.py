"""Answers with the request that it got, unless its path says otherwise."""

from __future__ import annotations

import json
import threading
from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if event["rawPath"] == "/fail":
        raise RuntimeError
    if event["rawPath"] == "/wait":
        print("waiting")
        threading.Event().wait()
    if event["rawPath"] == "/misanswer":
        return {"statusCode": "fine"}
    return {
        "statusCode": 201,
        "headers": {"X-Request-Id": context.aws_request_id},
        "cookies": ["a=1; Secure", "b=2"],
        "body": json.dumps(event),
    }

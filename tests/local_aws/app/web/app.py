"""Answers with the request that it got, unless its path says otherwise."""

import json
import os
from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    match event["rawPath"]:
        case "/raise":
            raise RuntimeError
        case "/exit":
            os._exit(3)
    return {
        "statusCode": 418,
        "headers": {"X-Request-Id": context.aws_request_id},
        "body": json.dumps(event),
    }

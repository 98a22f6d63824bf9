"""Works on a batch of messages: each says in its body what is to be done with it."""

from __future__ import annotations

import json
import os
from typing import Any

import boto3


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
    failures = []
    for record in event["Records"]:
        body = json.loads(record["body"])
        if body.get("do") == "fail":
            failures.append({"itemIdentifier": record["messageId"]})
        else:
            table.put_item(Item={"id": record["messageId"], "record": json.dumps(record)})
    return {"batchItemFailures": failures}

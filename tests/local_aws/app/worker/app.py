"""Works on a batch of messages: each says in its body what is to be done with it."""

import json
import os
from typing import Any


def keep(record: dict[str, Any]) -> None:
    import boto3

    item = {"id": {"S": record["messageId"]}, "record": {"S": json.dumps(record)}}
    boto3.client("dynamodb").put_item(TableName=os.environ["TABLE"], Item=item)


def handler(event: dict[str, Any], _context: Any) -> Any:
    report: Any = {"batchItemFailures": []}
    for record in event["Records"]:
        body = json.loads(record["body"])
        if body["do"] == "fail":
            report["batchItemFailures"].append({"itemIdentifier": record["messageId"]})
        elif body["do"] == "report":
            report = body["report"]
        else:
            keep(record)
    return report

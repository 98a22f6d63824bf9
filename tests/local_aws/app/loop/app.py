"""Sends itself a message, again and again."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: Any) -> None:
    import boto3

    key = event["Records"][0]["body"]
    boto3.client("dynamodb").update_item(
        TableName=os.environ["TABLE"],
        Key={"id": {"S": key}},
        UpdateExpression="ADD turns :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )
    boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=key)

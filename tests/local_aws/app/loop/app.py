"""Sends itself a message, again and again."""

import os
from typing import Any

import boto3

dynamodb, sqs = boto3.client("dynamodb"), boto3.client("sqs")


def handler(event: dict[str, Any], _context: Any) -> None:
    key = event["Records"][0]["body"]
    dynamodb.update_item(
        TableName=os.environ["TABLE"],
        Key={"id": {"S": key}},
        UpdateExpression="ADD turns :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )
    sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=key)

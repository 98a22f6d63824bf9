"""Does what the event says."""

import json
import os
import socket
import time
from functools import cache
from pathlib import Path
from typing import Any


class TemporarilyUnavailable(Exception):
    """An error that a state machine retries."""


def handler(event: dict[str, Any], context: Any) -> Any:
    say = event.get("say", "")
    if say:
        print(json.dumps({"level": "INFO", "message": say, "request": context.aws_request_id}))
    match event.get("do"):
        case "print":
            print(json.dumps(event["fields"]))
        case "environment":
            return dict(os.environ)
        case "pid":
            return os.getpid()
        case "raise":
            raise TemporarilyUnavailable(say)
        case "sleep":
            Path(event.get("begun", os.devnull)).touch()
            time.sleep(event["seconds"])
            return os.getpid()
        case "exit":
            os._exit(3)
        case "exit while answering":
            answer_half(context.aws_request_id)
        case "call":
            return call(event["service"], event["operation"], event["arguments"])
    return {"said": say}


def answer_half(request_id: str) -> None:
    """Die between the header and the body of the answer, as a process that is killed may."""
    host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
    path = f"/2018-06-01/runtime/invocation/{request_id}/response"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: 9\r\n\r\n{{".encode())
    os._exit(3)


@cache
def client(service: str) -> Any:
    import boto3  # a quarter of a second, which most events need not wait for
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1})
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def call(service: str, operation: str, arguments: dict[str, Any]) -> Any:
    answer = getattr(client(service), operation)(**arguments)
    return {"status": answer["ResponseMetadata"]["HTTPStatusCode"]}

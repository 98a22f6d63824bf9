"""Looks for secrets in everything that a campaign leaves: logs, items, events and histories."""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.chaos.stack import CampaignStack

SIGNED = ("X-Amz-Signature=", "X-Amz-Security-Token=", "X-Amz-Credential=")
"""What a presigned URL holds, which lets anybody read the upload."""


COPY_STAYS = "the converted copy stays until its bucket forgets it"


class Text(NamedTuple):
    """Something that people can read: what it is, whose, and its words."""

    kind: str
    place: str
    words: str


def find_leaks(texts: Iterable[Text], secrets: list[str]) -> list[str]:
    """Where which secret was found, without the secret itself."""
    wanted = {secret: f"secret {number}" for number, secret in enumerate(secrets)}
    wanted |= {part: part for part in SIGNED}
    return [
        f"{name} in the {text.kind} of {text.place}"
        for text in texts
        for secret, name in wanted.items()
        if secret in text.words
    ]


def texts_of(stack: CampaignStack) -> Iterator[Text]:
    """All that can be read in the account; events are taken out of their queue."""
    yield from _log_lines(stack)
    yield from _items(stack)
    yield from (Text("event", "the bus", body) for body in stack.published_events())
    yield from _histories(stack)


def _log_lines(stack: CampaignStack) -> Iterator[Text]:
    groups = stack.logs.get_paginator("describe_log_groups").paginate()
    for group in [group["logGroupName"] for page in groups for group in page["logGroups"]]:
        for page in stack.logs.get_paginator("filter_log_events").paginate(logGroupName=group):
            yield from (Text("log line", group, event["message"]) for event in page["events"])


def _items(stack: CampaignStack) -> Iterator[Text]:
    pages = stack.dynamodb.get_paginator("scan").paginate(TableName=stack.env["TASKS_TABLE"])
    for page in pages:
        for item in page["Items"]:
            yield Text("item", item["task_id"]["S"], json.dumps(item))


def _histories(stack: CampaignStack) -> Iterator[Text]:
    pages = stack.states.get_paginator("list_executions").paginate(
        stateMachineArn=stack.env["STATE_MACHINE_ARN"]
    )
    for arn in [execution["executionArn"] for page in pages for execution in page["executions"]]:
        history = stack.states.get_paginator("get_execution_history").paginate(executionArn=arn)
        for page in history:
            yield Text("history", arn, json.dumps(page["events"], default=str))

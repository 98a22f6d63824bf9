"""What a reconciliation found, and what to do about each of it."""

import json
import shlex
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from cutout.domain.messages import Cursor, Finding, FindingKind, Pages
from cutout_cli.advice import advice
from cutout_cli.pages import Runs
from cutout_cli.stacks import Stack
from cutout_cli.text import shown

_LOOKS = 30  # the log shows a line seconds after it was written
_CLOCKS_DIFFER = timedelta(minutes=1)


def runs(stack: Stack) -> Runs:
    """The runs of the stack's reconciliation."""
    return Runs(stack, stack.outputs["ReconcileArn"])


def begin(stack: Stack, prefix: str) -> list[Cursor]:
    """Both buckets, what failed, and the vendor's history, which knows no keys."""
    whole = stack.parameters.get("InputPrefix", "")
    outputs = stack.parameters.get("OutputPrefix", "") + prefix
    cursors = [
        Cursor(pages=Pages.UPLOADS, prefix=prefix or whole),
        Cursor(pages=Pages.OUTPUTS, prefix=outputs),
        Cursor(pages=Pages.FAILED, prefix=prefix),
    ]
    return cursors if prefix else [*cursors, Cursor(pages=Pages.HISTORY)]


def found(counts: dict[str, int]) -> int:
    """How many findings there are among the counts of a run."""
    return sum(counts.get(kind, 0) for kind in FindingKind)


def findings(stack: Stack, run: str, since: datetime, expected: int) -> Iterator[Finding]:
    """The findings of a run, each once; those that the log does not show in time are left out."""
    told: set[str] = set()
    for _ in range(_LOOKS):
        for finding in _logged(stack, run, since - _CLOCKS_DIFFER):
            if (text := finding.model_dump_json()) not in told:
                told.add(text)
                yield finding
        if len(told) >= expected:
            return
        time.sleep(1)


def _logged(stack: Stack, run: str, since: datetime) -> Iterator[Finding]:
    group = stack.of_type("AWS::Logs::LogGroup")["ReconcileLogs"]
    for page in (
        stack.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=group,
            startTime=int(since.timestamp() * 1000),
            filterPattern=f'"{run}"',
        )
    ):
        for event in page["events"]:
            line: dict[str, Any] = json.loads(event["message"])
            if line.get("run") == run and "finding" in line:
                yield Finding.model_validate(line["finding"])


def amiss(counts: dict[str, int]) -> bool:
    """Whether something is missing, or paid and not fetched; the rest is only told."""
    return found(counts) > counts.get(FindingKind.OUTPUT_LEFT, 0) + counts.get(
        FindingKind.UNUSABLE, 0
    )


def remedy(finding: Finding, stack: Stack) -> str:
    """What is wrong, and the command that mends it."""
    key, at = shown(finding.key or ""), stack.options
    output = f"s3://{stack.output_bucket}/{shown(finding.output_key or '')}"
    todo = advice(finding.code or "execution_ended", shlex.quote(key), at)
    return {
        FindingKind.MISSING: (
            f"{key}: not in the ledger: cutout backfill --prefix {shlex.quote(key)}{at}"
        ),
        FindingKind.OUTPUT_MISSING: (
            f"{key}: its PNG is gone: delete the delete marker of {output}, or upload it again, "
            "which is paid"
        ),
        FindingKind.OUTPUT_LEFT: (
            f"{key}: was deleted, and its PNG is left: aws s3 rm {shlex.quote(output)}"
        ),
        FindingKind.NOT_FETCHED: f"{key}: is paid and was not fetched ({finding.code}): {todo}",
        FindingKind.UNUSABLE: f"{key}: is paid and no use ({finding.code}): {todo}",
        FindingKind.UNCLAIMED: (
            f"prediction {finding.prediction_id}: is paid and no task's: it may be one of "
            f"cutout status --open{at}, or have been sent by somebody else"
        ),
    }[finding.kind]


def as_json(finding: Finding, text: str) -> str:
    return json.dumps(finding.model_dump(mode="json") | {"what": text})

"""EventBridge's default bus: events of AWS services, and the targets of rules.

moto sends an event to a queue without its account, and knows no Lambda target.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moto.core.utils import unix_time
from moto.events.models import Rule, events_backends
from moto.events.utils import EventTemplateParser
from moto.sqs.models import sqs_backends
from moto.stepfunctions.parser.backend.execution import Execution

from .functions import Functions

logger = logging.getLogger(__name__)


def publish(
    account_id: str,
    region: str,
    source: str,
    detail_type: str,
    resources: list[str],
    detail: Mapping[str, Any],
) -> None:
    """Hands an event of an AWS service to the rules of the default bus."""
    event: Any = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": account_id,
        "time": unix_time(),
        "region": region,
        "resources": resources,
        "detail": dict(detail),
    }
    for rule in list(events_backends[account_id][region].event_buses["default"].rules.values()):
        rule.send_to_targets(event)


def send_to_targets(rule: Rule, event: Any, functions: Functions) -> None:
    """Delivers an event that the rule's pattern matches to its queues and functions."""
    if rule.state != "ENABLED" or not rule.event_pattern.matches_event(event):
        return
    moment = datetime.fromtimestamp(float(event["time"]), UTC)
    whole = {**event, "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
    whole.pop("ingestion-time", None)
    for target in rule.targets:
        _send(rule, target, _body(target, whole), functions)


def _body(target: Mapping[str, Any], event: Any) -> str:
    transformer = target.get("InputTransformer")
    if not transformer:
        return json.dumps(event)
    return json.dumps(
        EventTemplateParser.parse(
            transformer["InputTemplate"], transformer.get("InputPathsMap", {}), event
        )
    )


def _send(rule: Rule, target: Mapping[str, Any], body: str, functions: Functions) -> None:
    service, name = target["Arn"].split(":")[2], target["Arn"].rsplit(":", 1)[1]
    if service == "sqs":
        sqs_backends[rule.account_id][rule.region_name].send_message(name, body)
    elif service == "lambda":
        functions.invoke_async(name, body.encode())
    else:
        logger.error("rule %s: a target of %s is not run here", rule.name, service)


_REASONS = {
    "s3:ObjectCreated:Put": "PutObject",
    "s3:ObjectCreated:Post": "POST Object",
    "s3:ObjectCreated:Copy": "CopyObject",
    "s3:ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
}
_sequence = itertools.count(time.time_ns())


def object_created(account_id: str, bucket: Any, event_name: str, key: Any) -> None:
    """The event of a bucket that announces its objects on EventBridge.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html

    Of moto's, the id and the sequencer are constants and the reason is not one of AWS. Only
    `Object Created` is sent: nothing in the stack listens to the others.
    """
    reason = _REASONS.get(event_name)
    # moto announces a multipart upload twice, and the first time as a Put.
    if reason is None or (reason == "PutObject" and key.multipart is not None):
        return
    described = {
        "key": key.name,
        "size": key.size,
        "etag": key.etag.strip('"'),
        "sequencer": f"{next(_sequence):018X}",
    }
    if bucket.is_versioned:
        described["version-id"] = key.version_id
    detail = {
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": described,
        "request-id": uuid.uuid4().hex[:16].upper(),
        "requester": account_id,
        "source-ip-address": "127.0.0.1",
        "reason": reason,
    }
    publish(account_id, bucket.region_name, "aws.s3", "Object Created", [bucket.arn], detail)


def execution_status_changed(execution: Execution) -> None:
    """The event of a standard execution that starts or ends, which moto does not send.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    succeeded = execution.status == "SUCCEEDED"
    detail = {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine.arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": _milliseconds(execution.start_date),
        "stopDate": _milliseconds(execution.stop_date),
        "input": json.dumps(execution.input_data),
        "output": json.dumps(execution.output) if succeeded else None,
        "inputDetails": {"included": True},
        "outputDetails": {"included": True} if succeeded else None,
        "error": execution.error,
        "cause": execution.cause,
    }
    publish(
        execution.account_id,
        execution.region_name,
        "aws.states",
        "Step Functions Execution Status Change",
        [execution.exec_arn],
        detail,
    )


def _milliseconds(moment: datetime | None) -> int | None:
    return int(moment.timestamp() * 1000) if moment else None

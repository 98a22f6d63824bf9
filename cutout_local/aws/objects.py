"""S3: what MiniStack leaves out for a version of an object. No upstream issues exist."""

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack.services import s3

from cutout_local.aws.patching import replaces

_VERSION: ContextVar[str | None] = ContextVar("version", default=None)


@replaces("services.s3", "_get_object", "range of a version")
def _range(original: Callable[..., Any]) -> Any:
    """AWS reads a range of any version; MiniStack only of the current one, without its id.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """

    def get(bucket: str, key: str, headers: dict[str, str], query: Any = None) -> Any:
        asked = headers.get("range")
        if not asked or "versionId" not in (query or {}):
            return original(bucket, key, headers, query)
        # A checksum would be that of the whole.
        others = {name: v for name, v in headers.items() if name != "x-amz-checksum-mode"}
        status, given, body = original(bucket, key, others, query)
        if status != 200:
            return status, given, body
        if not (part := s3._parse_range(asked, len(body))):
            return s3._error("InvalidRange", "The requested range is not satisfiable", 416)
        content = body[part[0] : part[1] + 1]
        given["Content-Range"] = f"bytes {part[0]}-{part[1]}/{len(body)}"
        given["Content-Length"] = str(len(content))
        return 206, given, content

    return get


@replaces("services.s3", "_fire_s3_event", "version in the event")
def _keep_version(original: Callable[..., None]) -> Any:
    """AWS tells EventBridge an object's version; MiniStack tells only the other targets.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """

    def fire(*event: Any, version_id: str | None = None, **more: Any) -> None:
        _VERSION.set(version_id)
        original(*event, version_id=version_id, **more)

    return fire


@replaces("services.eventbridge", "_dispatch_event", "version in the event")
def _tell_version(original: Callable[..., None]) -> Any:
    def dispatch(event: dict[str, Any], *more: Any) -> None:
        if event["Source"] == "aws.s3" and (version := _VERSION.get()):
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        original(event, *more)

    return dispatch

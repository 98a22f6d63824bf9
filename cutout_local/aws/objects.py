"""S3: what MiniStack leaves out for a version of an object. No upstream issues exist."""

import json
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qsl

from ministack.services import s3

from cutout_local.aws.patching import replaces

_METADATA = "x-amz-meta-"
_MOST_METADATA = 2048  # bytes
_MOST_TAGS = 10
_TAG_KEY = re.compile(r"[\w +\-=.:/@]{1,128}")
_TAG_VALUE = re.compile(r"[\w +\-=.:/@]{0,256}")
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


@replaces("services.s3", "handle_request", "limits of metadata and tags")
def _limits(original: Callable[..., Any]) -> Any:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html

    MiniStack takes all but an eleventh tag, which it refuses after the object was replaced.
    """

    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, *more: Any, **named: Any
    ) -> Any:
        if method in {"PUT", "POST"} and (refused := _refused(path, headers, body, more[0])):
            return s3._error(*refused, 400)
        return await original(method, path, headers, body, *more, **named)

    return handle


def _refused(path: str, headers: dict[str, str], body: bytes, query: Any) -> tuple[str, str] | None:
    metadata = {name: v for name, v in headers.items() if name.startswith(_METADATA)}
    size = sum(len(f"{name}{v}".encode()) - len(_METADATA) for name, v in metadata.items())
    if size > _MOST_METADATA:
        return "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size"
    tags = parse_qsl(headers.get("x-amz-tagging", ""), keep_blank_values=True)
    if "tagging" in query and s3._parse_bucket_key(path, headers)[1]:
        tags = list(s3._iter_tag_pairs(s3.fromstring(body)))
    if len(tags) > _MOST_TAGS:
        return "BadRequest", "Object tags cannot be greater than 10"
    for name, value in tags:
        if not _TAG_KEY.fullmatch(name):
            return "InvalidTag", "The TagKey you have provided is invalid"
        if not _TAG_VALUE.fullmatch(value):
            return "InvalidTag", "The TagValue you have provided is invalid"
    return None

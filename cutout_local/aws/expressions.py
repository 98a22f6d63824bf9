"""JSONata as Step Functions evaluates it: the language, and the functions that AWS adds to it.

https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from jsonata.jsonata import Jsonata  # type: ignore[import-untyped]
from jsonata.utils import Utils  # type: ignore[import-untyped]

_ALGORITHMS = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
}


class ExpressionFailed(Exception):
    """A JSONata expression that cannot be parsed or evaluated."""


def evaluate(expression: str) -> Any:
    """The value as plain JSON types; `None` for null and for undefined.

    Raises `ExpressionFailed`.
    """
    try:
        compiled = Jsonata(expression)
        for name, function in _FUNCTIONS.items():
            compiled.register_lambda(name, function)
        # A round trip: the library's own lists are not what json and boto3 take for lists.
        return json.loads(json.dumps(compiled.evaluate(None)))
    except Exception as error:  # besides its own, the library lets every error of Python through
        raise ExpressionFailed(str(error)) from error


def declare(variables: Mapping[str, Any]) -> str:
    """The text that binds each variable (named with its `$`) to a JSON value.

    A JSON text is a JSONata expression, but for `\\ud83d\\ude00`, which is read as two characters:
    no character is escaped that need not be.
    """
    return "".join(
        f"{name}:={json.dumps(value, default=_timestamp, ensure_ascii=False)};"
        for name, value in variables.items()
    )


def _timestamp(value: dt.datetime) -> str:
    utc = value.astimezone(dt.UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _partition(array: list[Any], size: int) -> list[list[Any]]:
    return [array[start : start + size] for start in range(0, len(array), size)]


def _range(first: int, last: int, step: int) -> list[int]:
    return list(range(first, last + (1 if step > 0 else -1), step))


def _hash(text: str, algorithm: str) -> str:
    return hashlib.new(_ALGORITHMS[algorithm], text.encode()).hexdigest()


def _random(seed: float | None = None) -> float:
    return random.Random(seed).random()  # noqa: S311 - jitter, not secrets


def _uuid() -> str:
    return str(uuid.uuid4())


def _parse(text: str) -> Any:
    value = json.loads(text)
    return Utils.NULL_VALUE if value is None else value  # None would be `undefined`


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": _random,
    "uuid": _uuid,
    "parse": _parse,
}

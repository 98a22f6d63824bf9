"""Errors of AWS services on request, so that users and tests can rehearse them.

`LocalAws(..., on_call=AwsFaults(seed, rules))` has calls fail by the dice, which depend
on nothing but the seed, the caller, the operation and how many such calls there were before.
"""

from __future__ import annotations

import json
import random
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .calls import Call

OPERATOR = "test"
"""The access key id of who uses the stack from outside; these calls are spared."""

_MESSAGE = "rehearsed by a fault"


@dataclass(frozen=True)
class Fault:
    """An error in place of a call's answer, named as the service names it.

    `carried_out`: the call has its effect all the same, which a 5xx of AWS leaves open.
    """

    error: str
    status: int
    carried_out: bool = False

    def in_place_of(
        self,
        app: WSGIApplication,
        service: str,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        if self.carried_out:
            Response.from_app(app, environ, buffered=True)
        else:
            Request(environ).get_data()  # a client that is still sending would see a reset
        return self._response(service)(environ, start_response)

    def _response(self, service: str) -> Response:
        request_id = str(uuid.uuid4())
        if service == "s3":
            text = f"<Error><Code>{self.error}</Code><Message>{_MESSAGE}</Message></Error>"
            headers = {"x-amz-request-id": request_id}
            return Response(text, self.status, headers, content_type="application/xml")
        text = json.dumps({"__type": self.error, "message": _MESSAGE})
        headers = {"x-amzn-errortype": self.error, "x-amzn-requestid": request_id}
        return Response(text, self.status, headers, content_type="application/x-amz-json-1.0")


@dataclass(frozen=True)
class FaultRule:
    """Calls of a service (as in their signature, e.g. `states`) that fail with a probability.

    A call that is struck begins a row of 1 to `most` failures of the same operation of the same
    caller, for an SDK hides a single one. Without `operations` it holds for all.
    """

    service: str
    fault: Fault
    rate: float
    operations: frozenset[str] = frozenset()
    most: int = 1

    def meets(self, call: Call) -> bool:
        named = not self.operations or call.operation in self.operations
        return call.service == self.service and named


@dataclass
class AwsFaults:
    """Decides about each call: an `OnCall`. `struck` counts by service and error.

    Spared are the operator's calls and those by a presigned URL, which somebody else makes.
    """

    seed: int
    rules: Sequence[FaultRule]
    struck: Counter[str] = field(default_factory=Counter)
    _met: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    _left: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, call: Call) -> Fault | None:
        if call.caller == OPERATOR or call.presigned:
            return None
        with self._lock:
            for number, rule in enumerate(self.rules):
                if rule.meets(call) and self._strikes(number, rule, call):
                    self.struck[f"{rule.service} {rule.fault.error}"] += 1
                    return rule.fault
        return None

    def _strikes(self, number: int, rule: FaultRule, call: Call) -> bool:
        met = (number, call.caller, call.operation)
        self._met[met] += 1
        if self._left[met]:
            self._left[met] -= 1
            return True
        dice = random.Random(f"{self.seed} {met} {self._met[met]}")  # noqa: S311
        if dice.random() >= rule.rate:
            return False
        self._left[met] = dice.randrange(rule.most)
        return True

"""Calls recorded with their caller, and failed, delayed or cut short by a kill on request.

ASGI middleware in front of MiniStack. Whether a rule fires depends on nothing but the seed, the
caller, the action and how many such calls there were before.
"""

import asyncio
import hmac
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from urllib.parse import parse_qs

from ministack.core import iam_actions, lambda_runtime, router
from ministack.services import sts
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutout_local.aws.faults import CONTROL, ROOT, Call, Report, Rule
from cutout_local.aws.functions import initialise

_MESSAGE = "injected by a rule"


class Injector:
    """The rules that hold, and what they were asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.set([])

    def set(self, rules: list[Rule], seed: int = 0) -> None:
        with self._lock:
            self._rules, self._seed = rules, seed
            self._since = time.monotonic()
            self._calls: Counter[Call] = Counter()
            self._fired: Counter[int] = Counter()
            self._seen: Counter[tuple[int, str, str]] = Counter()
            self._left: Counter[tuple[int, str, str]] = Counter()

    def report(self) -> Report:
        with self._lock:
            return Report(list(self._calls.items()), dict(self._fired))

    def rule_for(self, call: Call) -> Rule | None:
        """Note a call, and tell which rule it falls to."""
        with self._lock:
            self._calls[call] += 1
            if call.caller == ROOT:
                return None
            seconds = time.monotonic() - self._since
            for place, rule in enumerate(self._rules):
                spared = not rule.holds(seconds) or (call.presigned and not rule.kill)
                if not spared and rule.matches(call) and self._fires(place, rule, call):
                    self._fired[place] += 1
                    return rule
        return None

    def _fires(self, place: int, rule: Rule, call: Call) -> bool:
        kind = (place, call.caller, call.action)
        self._seen[kind] += 1
        if rule.nth is not None:
            return self._seen[kind] == rule.nth
        if self._left[kind]:
            self._left[kind] -= 1
            return True
        chance = random.Random(f"{self._seed} {kind} {self._seen[kind]}")  # noqa: S311
        if chance.random() >= rule.rate:
            return False
        self._left[kind] = chance.randrange(rule.most)
        return True


injector = Injector()


class FaultInjection:
    """Serves `/_cutout/...` to who has the root user's secret, and hands on everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if scope["path"].startswith(CONTROL):
            answer = await self._control(request)
            await answer(scope, receive, send)
        else:
            await self._forward(request, receive, send)

    async def _forward(self, request: Request, receive: Receive, send: Send) -> None:
        call = _call(request)
        rule = injector.rule_for(call) if call else None
        if call is None or rule is None:
            await self._app(request.scope, receive, send)
            return
        await asyncio.sleep(rule.delay)
        if call.presigned:  # the vendor does not die with the caller
            kill(call.caller)
            await self._app(request.scope, receive, send)
            return
        if rule.pause:
            pause(call.caller, rule.pause)
            await self._app(request.scope, receive, send)
            return
        if rule.carried_out:
            await self._app(request.scope, receive, _discard)
        else:
            await request.body()  # a client that is still sending would see a reset
        if rule.kill:
            kill(call.caller)
        await _error(call.action.split(":")[0], rule)(request.scope, receive, send)

    async def _control(self, request: Request) -> Response:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(key, os.environ["AWS_SECRET_ACCESS_KEY"]):
            return Response(status_code=403)
        match request.method, request.url.path.removeprefix(CONTROL):
            case "PUT", "faults":
                given = await request.json()
                injector.set([Rule(**rule) for rule in given["rules"]], given["seed"])
            case "POST", "kill":
                kill((await request.json())["function"])
            case "POST", "initialise":
                initialise((await request.json())["function"])
        return Response(injector.report().to_json(), media_type="application/json")


def kill(function: str) -> None:
    """Kill all processes of a function, named physically."""
    for process in _processes(function):
        process.kill()


def pause(function: str, seconds: float) -> None:
    """Stop all processes of a function for a while, as a frozen environment would be."""
    for process in _processes(function):
        process.send_signal(signal.SIGSTOP)
        threading.Timer(seconds, process.send_signal, [signal.SIGCONT]).start()


def _processes(function: str) -> list["subprocess.Popen[bytes]"]:
    return [
        worker._proc
        for key, workers in list(lambda_runtime._workers.items())
        for worker in list(workers)
        if key.split(":")[2] == function and worker._proc
    ]


def _call(request: Request) -> Call | None:
    headers, query = dict(request.headers), parse_qs(request.url.query, True)
    key = router.extract_access_key_id(headers, query)
    if not key:
        return None
    place = request.method, request.scope["path"]
    service = router.detect_service(*place, headers, query)
    action = iam_actions.extract_iam_action(service, *place, headers, b"", query)
    session = sts._sessions.get(key)
    caller = session["Arn"].rsplit("/", 1)[1] if session else ROOT
    presigned = "X-Amz-Signature" in query
    return Call(caller=caller, action=action or f"{service}:?", presigned=presigned)


async def _discard(_message: Message) -> None:
    """The answer that gets lost."""


def _error(service: str, rule: Rule) -> Response:
    if service == "s3":
        text = f"<Error><Code>{rule.error}</Code><Message>{_MESSAGE}</Message></Error>"
        return Response(text, rule.status, media_type="application/xml")
    body = {"__type": rule.error, "message": _MESSAGE}
    return JSONResponse(body, rule.status, headers={"x-amzn-errortype": rule.error})

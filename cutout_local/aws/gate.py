"""Who may come in: who has signed, or has a URL that was made for him."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cutout_local.aws.faults import CONTROL

_OWN_ROUTES = ("/_ministack", "/_localstack")
_FUNCTION_URLS = "/_aws/lambda-url/"
_SIGNED_URLS = ("X-Amz-Signature", "Signature")
_DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Gate:
    """ASGI middleware that shuts MiniStack's own routes and asks everybody for a signature.

    To MiniStack, who sends S3 none is the root user. What is signed is checked there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and not _may_pass(Request(scope)):
            app = Response(_DENIED, 403, media_type="application/xml")
        await app(scope, receive, send)


def _may_pass(request: Request) -> bool:
    path, query = request.url.path, request.query_params
    if path.startswith(_OWN_ROUTES) or path == "/health":
        return False
    form = request.headers.get("content-type", "").startswith("multipart/form-data")
    return (
        path.startswith((CONTROL, _FUNCTION_URLS))  # the one asks for a secret of its own
        or request.headers.get("authorization", "").startswith("AWS")
        or any(name in query for name in _SIGNED_URLS)
        or (request.method == "POST" and form and not query)  # to S3; the policy in it is signed
    )

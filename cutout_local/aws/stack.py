"""A local AWS in a process of its own."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from cutout_local.aws.credentials import HOST, REGION, Certificate, Credentials
from cutout_local.aws.errors import PortTaken, StartFailed
from cutout_local.aws.faults import CONTROL, Report, Rule

NEW_ACCOUNT_CONCURRENCY = 10
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
_STOP_SECONDS = 5
_creating = threading.Lock()  # boto3's session is for one thread
_CODE_CACHE = Path(__file__).parents[2] / ".aws-sam" / "code"

# https://github.com/ministackorg/ministack#configuration
_SETTINGS = {
    "AUTH": "true",
    "USE_SSL": "1",
    "MINISTACK_HOST": HOST,
    "MINISTACK_REGION": REGION,
    "IOT_MTLS_ENABLED": "0",  # a port of its own
    "SFTP_ENABLED": "0",  # another
    "PATH": os.defpath,
    "LANG": "en_US.UTF-8",
}


class LocalAws:
    """MiniStack, with the rules of an account on: IAM, resource policies, TLS, concurrency.

    `folder` is its own: the log, the certificate, the key and, if `keep`, the data, which a later
    `LocalAws` of the same folder and port finds again. Port 0 takes any that is free.
    `wait_scale` shortens what state machines wait, and `schedule_scale` the rates of rules;
    `without_patch` is for tests of the patches.

    As a context manager it is up from `__enter__` to `__exit__`.
    """

    region = REGION

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        keep: bool = False,
        concurrency: int = NEW_ACCOUNT_CONCURRENCY,
        wait_scale: float = 1,
        schedule_scale: float = 1,
        without_patch: str = "",
    ) -> None:
        self.folder = folder
        self.log = folder / "aws.log"
        self.port = port
        self._keep = keep
        self.credentials = Credentials.of(folder)
        self.certificate = Certificate.of(folder)
        self._settings = {
            "LAMBDA_ACCOUNT_CONCURRENCY": str(concurrency),
            "SFN_WAIT_SCALE": str(wait_scale),
            "CUTOUT_SCHEDULE_SCALE": str(schedule_scale),
            "PERSIST_STATE": str(int(keep)),
            "S3_PERSIST": str(int(keep)),
            "CUTOUT_WITHOUT_PATCH": without_patch,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.client = cache(self._new_client)

    def __enter__(self) -> Self:
        self.start()
        self.wait_until_up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def endpoint_url(self) -> str:
        """By address, so that SDKs put the bucket in the path and not in the host name."""
        return f"https://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What the AWS CLI, SAM and the SDKs need to use this account."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CA_BUNDLE": str(self.certificate.ca),
        }

    def start(self) -> None:
        """Start the server, which takes requests when it is up. Raises `PortTaken`."""
        with _listen(self.port) as listener, self.log.open("ab") as log:
            self.port = listener.getsockname()[1]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cutout_local.aws.server", str(listener.fileno())],
                env=self._server_environment(),
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a terminal's Ctrl-C is ours to handle
            )

    def wait_until_up(self) -> None:
        """Raises `StartFailed`."""
        try:
            self.report()
        except OSError as error:
            self.close()
            raise StartFailed(f"the local AWS did not start ({error}); see {self.log}") from error
        except BaseException:  # a Ctrl-C too must leave no server behind
            self.close()
            raise

    def close(self) -> None:
        """End the server and the functions; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._keep:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # functions are in its process group
        process.communicate()

    def _new_client(self, service: str) -> Any:
        """A boto3 client of the account's root user.

        Of the session that all of this process share, for each reads the models anew.
        """
        import boto3  # while the server starts, which takes as long
        from botocore.config import Config

        with _creating:
            return boto3.client(  # type: ignore[call-overload]
                service,
                region_name=REGION,
                endpoint_url=self.endpoint_url,
                aws_access_key_id=self.credentials.access_key_id,
                aws_secret_access_key=self.credentials.secret_access_key,
                verify=str(self.certificate.ca),
                # What fails here fails again; the first error is the one that tells why.
                config=Config(retries={"total_max_attempts": 1}),
            )

    def set_faults(self, rules: list[Rule], seed: int = 0) -> None:
        """Have calls fail, from now on and until the next rules; what was reported is forgotten."""
        given = {"seed": seed, "rules": [asdict(rule) for rule in rules]}
        self._control("PUT", "faults", given)

    def report(self) -> Report:
        """The calls that were made, and what rules did to them, since the last rules were set."""
        return Report.from_json(self._control("GET", "report"))

    def initialise(self, function: str) -> None:
        """Start a first process of a function (its physical name), without waiting for it.

        Not as AWS, where the first invocation waits; here it would be the newcomer who waits.
        """
        self._control("POST", "initialise", {"function": function})

    def kill(self, function: str) -> None:
        """Kill the processes of a function (its physical name), as a crash would."""
        self._control("POST", "kill", {"function": function})

    def _control(self, method: str, what: str, body: Any = None) -> bytes:
        key = {"authorization": f"Bearer {self.credentials.secret_access_key}"}
        url, data = self.endpoint_url + CONTROL + what, json.dumps(body).encode()
        trusted = ssl.create_default_context(cafile=str(self.certificate.ca))
        directly = build_opener(ProxyHandler({}), HTTPSHandler(context=trusted))
        request = Request(url, data, key, method=method)  # noqa: S310 - https, to this machine
        with directly.open(request, timeout=30) as answer:
            content: bytes = answer.read()
            return content

    def _server_environment(self) -> dict[str, str]:
        """Nothing of ours is handed on: functions must not see who started the server."""
        return {
            **_SETTINGS,
            **self._settings,
            **self.environment,
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_SSL_CERT": str(self.certificate.chain),
            "MINISTACK_SSL_KEY": str(self.certificate.key),
            "CUTOUT_CODE_CACHE": str(_CODE_CACHE),
            "STATE_DIR": str(self.folder / "state"),
            "S3_DATA_DIR": str(self.folder / "s3"),
            "TMPDIR": str(self.folder),
            "HOME": str(self.folder),
        }


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=128)
    except OSError as error:
        raise PortTaken(f"port {port} of {HOST}: {os.strerror(error.errno or 0)}") from error

"""The stack of a SAM template, running on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from botocore.config import Config
from botocore.exceptions import ClientError

from .calls import OnCall
from .clients import Clients
from .errors import AlreadyRunning, StackFailed
from .event_sources import EventSources
from .function_urls import FunctionUrls
from .functions import Functions
from .moto_patches import REGION, patched
from .server import MotoServer
from .state_machines import StateMachines
from .template import to_cloudformation

STACK_NAME = "cutout"

_only_one = Lock()


class LocalAws:
    """Deploys a SAM template to a moto server in this process, and runs it until `close`.

    As a context manager it is up from `__enter__` to `__exit__`. One at a time in a process,
    since moto's state belongs to the process.

    Raises, from `start`: `AlreadyRunning`, `PortTaken`, `InvalidTemplate`, `StackFailed`.
    """

    region = REGION

    def __init__(
        self,
        template: Path,
        parameters: Mapping[str, str],
        *,
        secrets: Mapping[str, str],
        port: int = 0,
        environments: int = 1,
        on_call: OnCall | None = None,
    ) -> None:
        """`secrets` are made before the stack; port 0 takes any that is free; `environments` is
        how many processes a function may have when it is invoked several times at once.
        """
        self._template = template
        self._parameters = parameters
        self._secrets = secrets
        self._port = port
        self._environments = environments
        self._on_call = on_call
        self._running = ExitStack()
        self.endpoint_url = ""
        self.outputs: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        with ExitStack() as stack:
            if not _only_one.acquire(blocking=False):
                raise AlreadyRunning("this process already runs a local stack")
            stack.callback(_only_one.release)
            self._start(stack)
            self._running = stack.pop_all()

    def close(self) -> None:
        """Ends processes, threads and the server; safe to call twice."""
        self._running.close()

    def client(self, service: str, access_key_id: str = "test") -> Any:
        """A boto3 client of the local stack, for as long as it is up."""
        return self._clients.client(
            service,
            access_key_id,
            region_name=self.region,
            endpoint_url=self.endpoint_url,
            aws_secret_access_key="test",  # noqa: S106 - moto checks none
            # What fails here fails again; the first error is the one that tells why.
            config=Config(retries={"total_max_attempts": 1}),
        )

    def kill(self, function: str) -> None:
        """Kills the process of a function (its logical id), as a crash would."""
        self._functions.kill(function)

    def _start(self, stack: ExitStack) -> None:
        urls = FunctionUrls()
        server = MotoServer(self._port, self._on_call, urls)
        stack.callback(server.close)
        self.endpoint_url = server.url
        self._clients = Clients()
        stack.callback(self._clients.close)
        root = self._template.resolve().parent
        self._functions = Functions(root, server.url, self._environments)
        self._machines = StateMachines(root)
        self._sources = EventSources()
        stack.enter_context(
            patched(server.url, self._functions, urls, self._sources, self._machines)
        )
        stack.callback(self._shut_down)
        self._put_secrets()
        self._deploy(to_cloudformation(self._template, self._parameters))
        self._sources.start(self._functions, partial(self.client, "sqs"))

    def _put_secrets(self) -> None:
        client = self.client("secretsmanager")
        for name, value in self._secrets.items():
            client.create_secret(Name=name, SecretString=value)

    def _deploy(self, body: str) -> None:
        client = self.client("cloudformation")
        parameters = [
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in self._parameters.items()
        ]
        try:
            client.create_stack(StackName=STACK_NAME, TemplateBody=body, Parameters=parameters)
        except ClientError as error:
            raise StackFailed(f"{self._template}: {error}") from error
        description = client.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        if description["StackStatus"] != "CREATE_COMPLETE":
            raise StackFailed(description.get("StackStatusReason", description["StackStatus"]))
        outputs = description.get("Outputs", [])
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def _shut_down(self) -> None:
        """No new work first, then what is in work, then the threads that waited for it."""
        self._sources.stop()
        self._machines.stop()
        self._functions.close()
        self._sources.close()
        self._machines.close()

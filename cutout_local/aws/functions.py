"""Lambda: Python handlers in AWS's own runtime client, in an environment of their own.

MiniStack runs handlers in a script of its own, with its own environment, and reports every error
as `Runtime.HandlerError`. AWS runs `/var/runtime/bootstrap`, the runtime client that it publishes,
and reports the exception's class. MiniStack can do that for `provided` runtimes.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html
No upstream issue exists.
"""

import hashlib
import io
import os
import shutil
import sysconfig
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import get_account_id
from ministack.services import lambda_svc

from cutout_local.aws.fork_server import Environment
from cutout_local.aws.patching import replaces

LINEAGE: ContextVar[int] = ContextVar("lineage", default=0)
"""How many invocations of a chain of messages came before this one."""
_RUNTIME = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")
_SDK = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")


@replaces("services.lambda_svc", "_execute_function_warm", "runtime client")
def _execute(_original: Any) -> Any:
    return lambda_svc._execute_function_provided_warm


@replaces("core.lambda_runtime", "_worker_class_for", "runtime client")
def _worker_class(_original: Any) -> Any:
    return lambda _config: _Worker


@replaces("core.lambda_runtime", "subprocess", "runtime client")
def _subprocess(original: ModuleType) -> Any:
    return SimpleNamespace(**{**vars(original), "Popen": Environment})


class _Worker(lambda_runtime.ProvidedWorker):  # type: ignore[misc]
    """A killed process is an exit error; MiniStack takes what it had sent of its answer for all.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """

    def _build_handler_class(self, *args: Any) -> Any:
        class Handler(super()._build_handler_class(*args)):  # type: ignore[misc]
            def _read_body(self) -> bytes:
                body: bytes = super()._read_body()
                if len(body) < int(self.headers.get("Content-Length", 0)):
                    raise ConnectionResetError
                return body

        return Handler

    def _await_init(self, *args: Any) -> None:
        try:
            super()._await_init(*args)
        except lambda_runtime.ProvidedInitTimeout:
            raise
        except RuntimeError as error:
            told = self._init_error if isinstance(self._init_error, dict) else {}
            kind, text = told.get("errorType"), told.get("errorMessage", str(error))
            raise lambda_runtime.ProvidedRuntimeError(text, kind or "Runtime.ExitError") from error


@replaces("services.lambda_svc", "_provided_runtime_code_dir", "runtime client")
def _code_dir(_original: Any) -> Any:
    return code_dir


def code_dir(code: bytes) -> str:
    """The folder of an unpacked function or layer, which all stacks of this machine share."""
    cache = Path(os.environ["CUTOUT_CODE_CACHE"])
    folder = cache / hashlib.sha256(code).hexdigest()
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as private:
            fresh = Path(private, "code")
            zipfile.ZipFile(io.BytesIO(code)).extractall(fresh)
            (fresh / "bootstrap").touch(0o755)  # MiniStack asks for it, and starts `Environment`
            with suppress(OSError):  # another stack was first
                fresh.rename(folder)
    return str(folder)


@replaces("services.lambda_svc", "_provided_worker_env", "runtime client")
def _environment(_original: Any) -> Any:
    return environment


def environment(config: Mapping[str, Any], folder: str, runtime_api_port: int) -> dict[str, str]:
    """What Lambda sets, and the function's own variables; nothing of the server's.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    logging = config.get("LoggingConfig") or {}
    region = os.environ["MINISTACK_REGION"]
    return {
        **lambda_svc._runtime_env_vars(config),
        **lambda_runtime.execution_credentials(config),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime_api_port}",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        "AWS_CA_BUNDLE": os.environ["AWS_CA_BUNDLE"],
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config['Runtime']}",
        "AWS_LAMBDA_FUNCTION_NAME": config["FunctionName"],
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config["MemorySize"]),
        "AWS_LAMBDA_FUNCTION_VERSION": config["Version"],
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        **_log_settings(logging),
        "AWS_LAMBDA_LOG_GROUP_NAME": logging.get(
            "LogGroup", f"/aws/lambda/{config['FunctionName']}"
        ),
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "LAMBDA_TASK_ROOT": folder,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([*_layers(config), str(_runtime())]),
        "_HANDLER": config["Handler"],
    }


def _log_settings(logging: Mapping[str, str]) -> dict[str, str]:
    """Only lines in Lambda's own JSON format have a level that it filters by.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    """
    log_format = logging.get("LogFormat", "Text")
    level = {"AWS_LAMBDA_LOG_LEVEL": logging.get("ApplicationLogLevel", "INFO")}
    return {"AWS_LAMBDA_LOG_FORMAT": log_format} | (level if log_format == "JSON" else {})


def _layers(config: Mapping[str, Any]) -> list[str]:
    contents = [lambda_svc._resolve_layer_zip(layer) for layer in config.get("Layers") or []]
    return [str(Path(code_dir(content), "python")) for content in contents if content]


def lay_out_runtime() -> None:
    """Make the folder of what Lambda's Python brings: a layer must bring all else.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
    """
    folder = _runtime()
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier start with kept data
    folder.mkdir()
    installed = Path(sysconfig.get_path("purelib"))
    for name in _RUNTIME + _SDK:
        for found in (*installed.glob(name), *installed.glob(f"{name}.*")):  # package or module
            (folder / found.name).symlink_to(found)


def _runtime() -> Path:
    return Path(os.environ["TMPDIR"], "runtime")


def initialise(name: str) -> None:
    """Start a function's first environment before it is needed."""
    function = lambda_svc._functions[name]
    worker, _ = lambda_runtime.acquire_worker(name, function["config"], function["code_zip"])
    lambda_runtime.release_worker(worker)  # an invocation may take it, and waits until it is ready
    threading.Thread(target=lambda_runtime.ensure_spawned, args=(worker,), daemon=True).start()


@replaces("services.lambda_svc", "_xray_trace_id_for_invocation", "recursive loops")
def _trace_header(original: Callable[..., str | None]) -> Any:
    """AWS counts a chain of messages in the trace header, through SQS too; MiniStack does not.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    """

    def trace_header(config: Mapping[str, Any]) -> str:
        active = {**config, "TracingConfig": {"Mode": "Active"}}
        return f"{original(active)};Lineage=1:{get_account_id()}:{LINEAGE.get() + 1}"

    return trace_header

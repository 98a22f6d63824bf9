"""Measure what a function does before its first invocation, beside what it cannot do without.

    python -m benchmarks.cold_start

The floor is a process that imports boto3, pydantic with one model and, where the vendor is called,
httpx, and makes the same clients of AWS and one of HTTP. CPU seconds, the least of several runs, in
a process with nothing but the layer and boto3, as on Lambda; there, 512 MB are 0.29 of a CPU, but
for the init, which has a whole one.
"""

import os
import resource
import subprocess
import sys
import tempfile
from decimal import Decimal
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cutout.settings import (
    BackfillSettings,
    BackstopSettings,
    ClockSettings,
    ConvertSettings,
    PollSettings,
    ReconcileSettings,
    SubmitSettings,
    WebhookSettings,
)
from cutout_local.stack import BUILD, ROOT

LIMIT = 1.3  # times the floor
RUNS = 9
LAYERS = [BUILD / name / "python" for name in ("CutoutLayer", "ConvertLayer")]
RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "six", "urllib3")  # what Lambda has
MODEL = "from pydantic import BaseModel\nclass Model(BaseModel):\n    field: int\n"
VENDOR = "import httpx\nhttpx.Client()\n"
SETTINGS: dict[str, type[BaseModel]] = {
    "submit": SubmitSettings,
    "poll": PollSettings,
    "webhook": WebhookSettings,
    "backstop": BackstopSettings,
    "clock": ClockSettings,
    "convert": ConvertSettings,
    "backfill": BackfillSettings,
    "reconcile": ReconcileSettings,
}
CLIENTS = {
    "submit": ("secretsmanager", "dynamodb", "s3", "lambda", "stepfunctions", "events", "sqs"),
    "poll": ("secretsmanager", "dynamodb", "s3", "events"),
    "webhook": ("secretsmanager", "dynamodb", "stepfunctions"),
    "backstop": ("dynamodb", "events"),
    "clock": ("secretsmanager", "dynamodb", "sqs", "stepfunctions", "events"),
    "convert": ("s3",),
    "backfill": ("dynamodb", "s3", "sqs"),
    "reconcile": ("secretsmanager", "dynamodb", "s3"),
}
CALLS_THE_VENDOR = {"submit", "poll", "webhook", "clock", "reconcile"}
DECODERS = "import pi_heif\nfrom PIL import Image\n"


def floor(name: str) -> str:
    """The program that only imports and makes clients."""
    clients = "".join(f"boto3.client({service!r})\n" for service in CLIENTS[name])
    vendor = VENDOR if name in CALLS_THE_VENDOR else ""
    decoders = DECODERS if name == "convert" else ""
    return f"import boto3\n{MODEL}{vendor}{decoders}{clients}"


def environment(runtime: Path, settings: type[BaseModel]) -> dict[str, str]:
    """As Lambda has it: the function's own variables, which are only read, for no call is made."""
    own = {name.upper(): _sample(field) for name, field in settings.model_fields.items()}
    return own | {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_LAMBDA_FUNCTION_NAME": "any",
        "PATH": os.defpath,
        "POWERTOOLS_METRICS_NAMESPACE": "Cutout",
        "PYTHONPATH": os.pathsep.join(map(str, [*LAYERS, runtime])),
    }


def _sample(field: FieldInfo) -> str:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return next(iter(kind)).value
    return {bool: "false", int: "1", Decimal: "1"}.get(kind or str, "https://example.com")


def cpu_seconds(programs: list[str], env: dict[str, str]) -> list[float]:
    """The least CPU time of a process with each program; by turns, for load comes and goes."""
    commands = [[sys.executable, "-S", "-c", program] for program in programs]
    runs = [[_once(command, env) for command in commands] for _ in range(RUNS)]
    return [min(times) for times in zip(*runs, strict=True)]


def _once(command: list[str], env: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=env, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def lambda_has(folder: Path) -> Path:
    """A folder with boto3 and what it needs, and nothing else of this environment."""
    for name in RUNTIME:
        spec = find_spec(name)
        assert spec
        assert spec.origin
        origin = Path(spec.origin)
        target = origin.parent if spec.submodule_search_locations else origin
        (folder / target.name).symlink_to(target)
    return folder


def ratio(name: str, runtime: Path) -> float:
    """How many times its floor a function's init takes."""
    env = environment(runtime, SETTINGS[name])
    code = str(ROOT / "functions" / name)
    imported = f"import sys; sys.path.insert(0, {code!r}); import app"
    least, init = cpu_seconds([floor(name), imported], env)
    print(f"{name:9} init {init:.2f} s, floor {least:.2f} s: {init / least:.2f}", flush=True)
    return init / least


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runtime = lambda_has(Path(folder))
        most = max(ratio(name, runtime) for name in CLIENTS)
    print(f"most: {most:.2f} times the floor, limit {LIMIT:.2f}")
    sys.exit(most > LIMIT)


if __name__ == "__main__":
    main()

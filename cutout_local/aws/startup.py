"""What makes the server start sooner. Imported before MiniStack; it mends none of its rules."""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import samtranslator

# MiniStack and botocore go without these, which are a sixth of what they import: no function runs
# in a container, and signing and TLS are in the standard library, too.
sys.modules.update(dict.fromkeys(("docker", "awscrt", "OpenSSL")))  # type: ignore[arg-type]

_SAM = "AWS::Serverless-2016-10-31"


def keep_transforms() -> None:
    """Have SAM transform a template once on this machine, and not at each start."""
    from ministack.services.cloudformation import changesets, handlers

    for module in (changesets, handlers):
        module._apply_transforms = _kept(module._apply_transforms)


def _kept(transform: Callable[..., Any]) -> Callable[..., Any]:
    def transformed(template: dict[str, Any], *parameters: Any) -> Any:
        text = json.dumps(template, default=str)
        # Other transforms depend on parameters, and on files.
        if template.get("Transform") != _SAM or "Fn::Transform" in text:
            return transform(template, *parameters)
        digest = sha256(f"{samtranslator.__version__} {text}".encode()).hexdigest()
        file = Path(os.environ["CUTOUT_CODE_CACHE"], f"{digest}.json")
        if not file.exists():
            _write(file, json.dumps(transform(template, *parameters), default=str))
        return json.loads(file.read_text())

    return transformed


def _write(file: Path, text: str) -> None:
    """At once, for another stack may be reading."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as part:
        part.write(text)
    Path(part.name).replace(file)

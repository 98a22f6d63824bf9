"""Templates as SAM reads them, but by the parser that is written in C, eight times as fast."""

from pathlib import Path
from typing import Any

import yaml
from samtranslator.yaml_helper import intrinsics_multi_constructor


class _Loader(yaml.CSafeLoader):
    """Takes the short forms of CloudFormation's functions, as `!Ref`."""


_Loader.add_multi_constructor("!", intrinsics_multi_constructor)


def read(path: Path) -> dict[str, Any]:
    """A template, or a state machine's definition, in YAML."""
    parsed: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506
    return parsed

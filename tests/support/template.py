"""The template and the state machine's definition as they are deployed, each read once."""

from functools import cache
from pathlib import Path
from typing import Any

from cutout_local.aws.template import read

ROOT = Path(__file__).parents[2]
STATE_MACHINE = ROOT / "statemachine" / "wait_loop.asl.yaml"
PAGES = ROOT / "statemachine" / "pages.asl.yaml"


@cache
def template() -> dict[str, Any]:
    return read(ROOT / "template.yaml")


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type, by their names."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template()["Resources"].items()
        if resource["Type"] == kind
    }


@cache
def state_machine(path: Path = STATE_MACHINE) -> dict[str, Any]:
    return read(path)

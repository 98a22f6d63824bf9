"""What makes the server start sooner, in a process of its own: it takes modules away."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SAM = "AWS::Serverless-2016-10-31"
TRANSFORM = """
import json, sys
from ministack.services.cloudformation import handlers

from cutout_local.aws import startup

made = []
handlers._apply_transforms = lambda template, *_: made.append(template) or {"from": template}
startup.keep_transforms()
templates = json.load(sys.stdin)
results = [handlers._apply_transforms(template, []) for template in templates]
assert results == [{"from": template} for template in templates]
print(json.dumps(made))
"""


def transformed(cache: Path, *templates: dict[str, Any]) -> Any:
    """Those that were really transformed by a server that was sent all of these."""
    done = subprocess.run(
        [sys.executable, "-c", TRANSFORM],
        env={"CUTOUT_CODE_CACHE": str(cache)},
        input=json.dumps(templates).encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_a_template_is_transformed_once_for_all_servers(tmp_path: Path) -> None:
    one, other = ({"Transform": SAM, "Resources": {name: {}}} for name in ("One", "Other"))
    assert transformed(tmp_path / "cache", one, one) == [one]
    assert transformed(tmp_path / "cache", one, other) == [other]


def test_what_depends_on_more_than_the_template_is_transformed_each_time(tmp_path: Path) -> None:
    extended: dict[str, Any] = {"Transform": ["AWS::LanguageExtensions", SAM], "Resources": {}}
    include = {"Fn::Transform": {"Name": "AWS::Include"}}
    including: dict[str, Any] = {"Transform": SAM, "Resources": include}
    plain: dict[str, Any] = {"Resources": {}}
    each_twice = [extended, including, plain] * 2
    assert transformed(tmp_path / "cache", *each_twice) == each_twice

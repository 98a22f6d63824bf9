"""From the SAM template to plain CloudFormation, as `sam package` and the SAM transform do it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse
from yaml import YAMLError

from .errors import InvalidTemplate

LOCAL_FILES = "local-files"
"""The bucket that packaged properties name; its keys are paths beside the template."""

_PACKAGED = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Serverless::StateMachine": "DefinitionUri",
}


class _NoManagedPolicies:
    """Policies are ARNs or statements in the template: none is looked up by its name."""

    def load(self) -> dict[str, str]:
        return {}


def to_cloudformation(template: Path, parameters: Mapping[str, str]) -> str:
    """The CloudFormation template (JSON) of the SAM template at `template`.

    Local paths become `s3://local-files/<path>`, as `sam package` would have uploaded them; the
    path is relative to the template's folder.

    Raises `InvalidTemplate`.
    """
    document = _read(template)
    _package(document)
    try:
        translated = transform(document, dict(parameters), _NoManagedPolicies())
    except InvalidDocumentException as error:
        reasons = "; ".join(cause.message for cause in error.causes)
        raise InvalidTemplate(f"{template}: {reasons}") from error
    return json.dumps(translated, default=str)


def _read(template: Path) -> dict[str, Any]:
    try:
        document = yaml_parse(template.read_text(encoding="utf-8"))
    except (OSError, YAMLError) as error:
        raise InvalidTemplate(f"{template}: {error}") from error
    if not isinstance(document, dict) or "Resources" not in document:
        raise InvalidTemplate(f"{template}: no Resources")
    return document


def _package(document: dict[str, Any]) -> None:
    for kind, name in _PACKAGED.items():
        _rewrite(document.get("Globals", {}).get(kind.rsplit("::", 1)[1], {}), name)
        for resource in document["Resources"].values():
            if resource.get("Type") == kind:
                _rewrite(resource.get("Properties", {}), name)


def _rewrite(properties: dict[str, Any], name: str) -> None:
    path = properties.get(name)
    if isinstance(path, str) and not path.startswith("s3://"):
        properties[name] = f"s3://{LOCAL_FILES}/{Path(path).as_posix()}"

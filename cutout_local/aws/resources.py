"""CloudFormation: properties that MiniStack's resources take otherwise than AWS's."""

from collections.abc import Callable
from typing import Any

from cutout_local.aws.patching import replaces

Properties = dict[str, Any]
_NUMBERS = frozenset(
    {"MaximumConcurrency", "MemorySize", "ReservedConcurrentExecutions", "maxReceiveCount"}
)


@replaces("services.cloudformation.provisioners", "_RESOURCE_HANDLERS", "types of properties")
def _typed(original: dict[str, dict[str, Any]]) -> Any:
    """CloudFormation makes of a value what its property is: a parameter of type Number, a number
    or a text. MiniStack hands it on as it came.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
    No upstream issue exists.
    """
    for kind in ("AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping", "AWS::SQS::Queue"):
        handlers = original[kind]
        create, update = handlers["create"], handlers["update"]
        handlers["create"] = _on_create(create)
        handlers["update"] = _on_update(update)
    return original


@replaces("services.cloudformation.provisioners", "_cw_metric_alarm_put", "alarms on expressions")
def _alarm(original: Callable[..., Any]) -> Any:
    """An alarm on an expression is made and never rings; MiniStack refuses it.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudwatch-alarm.html
    No upstream issue exists.
    """

    def put(name: str, properties: Properties) -> tuple[str, dict[str, str]]:
        return (name, {}) if "Metrics" in properties else original(name, properties)

    return put


def _on_create(create: Callable[..., Any]) -> Any:
    return lambda name, properties, *more: create(name, with_types(properties), *more)


def _on_update(update: Callable[..., Any]) -> Any:
    def typed(physical_id: str, old: Properties, new: Properties, *more: Any, **named: Any) -> Any:
        return update(physical_id, with_types(old), with_types(new), *more, **named)

    return typed


def with_types(value: Any, name: str = "") -> Any:
    """The properties with numbers where numbers are due, and texts as environment variables."""
    if name == "Variables":
        return {key: _text(each) for key, each in value.items()}
    if isinstance(value, dict):
        return {key: with_types(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [with_types(each) for each in value]
    return int(value) if name in _NUMBERS else value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

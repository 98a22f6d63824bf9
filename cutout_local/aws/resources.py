"""CloudFormation: properties that MiniStack's resources take otherwise than AWS's."""

from collections.abc import Callable
from typing import Any

from ministack.services import dynamodb, eventbridge, lambda_svc, s3

from cutout_local.aws.patching import replaces

Properties = dict[str, Any]
_KINDS = (
    "AWS::Lambda::Function",
    "AWS::Lambda::EventSourceMapping",
    "AWS::SQS::Queue",
    "AWS::StepFunctions::StateMachine",
)
_NUMBERS = frozenset(
    {"MaximumConcurrency", "MemorySize", "ReservedConcurrentExecutions", "maxReceiveCount"}
    | {"ExpirationInDays", "NoncurrentDays"}
)


@replaces("services.cloudformation.provisioners", "_RESOURCE_HANDLERS", "types of properties")
def _typed(original: dict[str, dict[str, Any]]) -> Any:
    """CloudFormation makes of a value what its property is: a parameter of type Number, a number
    or a text. MiniStack hands it on as it came.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
    No upstream issue exists.
    """
    for kind in _KINDS:
        handlers = original[kind]
        create, update = handlers["create"], handlers["update"]
        handlers["create"] = _on_create(create)
        handlers["update"] = _on_update(update)
    return original


@replaces(
    "services.cloudformation.provisioners", "_cw_metric_alarm_record", "alarms on expressions"
)
def _alarm(original: Callable[..., Any]) -> Any:
    """An alarm may have metrics and an expression instead of one metric; MiniStack refuses it.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudwatch-alarm.html
    No upstream issue exists.
    """

    def record(name: str, properties: Properties) -> dict[str, Any]:
        if "Metrics" not in properties:
            return dict(original(name, properties))
        rest = {key: value for key, value in properties.items() if key != "Metrics"}
        alarm = original(name, rest | {"MetricName": "none", "Namespace": "none"})
        return {**alarm, "MetricName": "", "Namespace": "", "Metrics": properties["Metrics"]}

    return record


@replaces("services.cloudformation.provisioners", "_eb_rule_bus_name", "rules need their bus")
def _bus(original: Callable[[Properties], str]) -> Any:
    """A rule cannot be made on a bus that is not there; MiniStack's CloudFormation makes it.

    https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html
    No upstream issue exists.
    """

    def name(properties: Properties) -> str:
        bus = original(properties)
        if bus != "default" and bus not in eventbridge._event_buses:
            raise ValueError(f"Event bus {bus} does not exist.")
        return bus

    return name


def _on_create(create: Callable[..., Any]) -> Any:
    return lambda name, properties, *more: create(name, with_types(properties), *more)


def _on_update(update: Callable[..., Any]) -> Any:
    def typed(physical_id: str, old: Properties, new: Properties, *more: Any, **named: Any) -> Any:
        return update(physical_id, with_types(old), with_types(new), *more, **named)

    return typed


@replaces("services.cloudformation.provisioners", "_RESOURCE_HANDLERS", "properties left out")
def _complete(original: dict[str, dict[str, Any]]) -> Any:
    """Properties of a template that MiniStack knows, and has its provisioners drop.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-function.html
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html
    No upstream issue exists.
    """
    for kind, apply in (("AWS::Lambda::Function", _reserve), ("AWS::DynamoDB::Table", _protect)):
        handlers = original[kind]
        handlers["create"] = _followed_by(apply, handlers["create"], 1)
        handlers["update"] = _followed_by(apply, handlers["update"], 2)
    return original


@replaces(
    "services.cloudformation.provisioners", "_S3_BUCKET_CONFIGURATIONS", "properties left out"
)
def _with_lifecycle(original: tuple[Any, ...]) -> Any:
    """A bucket's lifecycle is told, though nothing expires by it.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-s3-bucket-rule.html
    No upstream issue exists.
    """
    put, delete = s3._bucket_lifecycle.__setitem__, s3._delete_bucket_lifecycle
    return (*original, ("LifecycleConfiguration", _lifecycle_rules, put, delete))


def _lifecycle_rules(configuration: Properties) -> list[Properties]:
    return [_lifecycle_rule(with_types(rule)) for rule in configuration["Rules"]]


def _lifecycle_rule(rule: Properties) -> Properties:
    """As S3's own calls have it."""
    names = {"ExpirationInDays": "Days", "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker"}
    expiration = {names[name]: rule[name] for name in names if name in rule}
    same = ("Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
    return {
        "ID": rule["Id"],
        "Filter": {"Prefix": rule.get("Prefix", "")},
        **({"Expiration": expiration} if expiration else {}),
        **{name: rule[name] for name in same if name in rule},
    }


def _followed_by(apply: Callable[[str, Properties], None], put: Callable[..., Any], at: int) -> Any:
    def complete(*arguments: Any, **named: Any) -> Any:
        made = put(*arguments, **named)
        apply(made[0], arguments[at])
        return made

    return complete


def _reserve(name: str, properties: Properties) -> None:
    lambda_svc._functions[name]["concurrency"] = properties.get("ReservedConcurrentExecutions")


def _protect(name: str, properties: Properties) -> None:
    table = {"TableName": name, **properties}
    if "TimeToLiveSpecification" in table:
        dynamodb._update_ttl(table)
    if "PointInTimeRecoverySpecification" in table:
        dynamodb._update_continuous_backups(table)


def with_types(value: Any, name: str = "") -> Any:
    """The properties with numbers where numbers are due, and texts as environment variables."""
    if name == "LoggingConfiguration":
        return _camel_case(value)
    if name == "Variables":
        return {key: _text(each) for key, each in value.items()}
    if isinstance(value, dict):
        return {key: with_types(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [with_types(each) for each in value]
    return int(value) if name in _NUMBERS else value


def _camel_case(value: Any) -> Any:
    """As Step Functions' own calls have it."""
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: _camel_case(each) for name, each in value.items()}
    return [_camel_case(each) for each in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Check the template's IAM policies with parliament: do actions, resources and conditions fit?

    python .ci/policies.py template.yaml

Runs in the environment of `make audit`. References become ARNs of their resource's kind.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from parliament import analyze_policy_string

HERE = "eu-west-1:123456789012"
ARNS = {
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{HERE}:table/name",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{HERE}:log-group:name:*",
    "AWS::SQS::Queue": f"arn:aws:sqs:{HERE}:name",
    "AWS::Serverless::Function": f"arn:aws:lambda:{HERE}:function:name",
    "AWS::Serverless::StateMachine": f"arn:aws:states:{HERE}:stateMachine:name",
}
VALUES = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
    "ApiKeySecretArn": f"arn:aws:secretsmanager:{HERE}:secret:name-AbCdEf",
    "InputKmsKeyArn": f"arn:aws:kms:{HERE}:key/1234",
    "OutputKmsKeyArn": f"arn:aws:kms:{HERE}:key/1234",
    "SecretKmsKeyArn": f"arn:aws:kms:{HERE}:key/1234",
}

# The data has the executions of express workflows only. AWS has both kinds:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
EXCEPTIONS = {"states:DescribeExecution"}


def _construct(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    """`!Ref a` is `{"Ref": "a"}`, `!Sub a` is `{"Sub": "a"}`, and so on."""
    match node:
        case yaml.ScalarNode():
            return {tag: loader.construct_scalar(node)}
        case yaml.SequenceNode():
            return {tag: loader.construct_sequence(node, deep=True)}
        case yaml.MappingNode():
            return {tag: loader.construct_mapping(node, deep=True)}


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's functions."""


Loader.add_multi_constructor("!", _construct)


def main(path: Path) -> None:
    template = yaml.load(path.read_text(), Loader)  # noqa: S506 - a SafeLoader
    found = [
        f"{name}: {finding.issue}: {finding.detail} {finding.location}"
        for name, document in policies(template["Resources"])
        for finding in analyze_policy_string(json.dumps(document)).findings
        if not is_excepted(finding)
    ]
    print("\n".join(found) or f"parliament finds nothing in {path}")
    sys.exit(bool(found))


def is_excepted(finding: Any) -> bool:
    """Whether a finding is of what parliament's data does not know."""
    return finding.issue == "RESOURCE_MISMATCH" and all(
        mismatch["action"] in EXCEPTIONS for mismatch in finding.detail
    )


def policies(resources: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The policies of roles, and those that are attached to them."""
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"]["Policies"]:
                yield name, filled_in(policy["PolicyDocument"], resources)
        elif resource["Type"] == "AWS::IAM::Policy":
            yield name, filled_in(resource["Properties"]["PolicyDocument"], resources)


def filled_in(value: Any, resources: dict[str, Any]) -> Any:
    """A value with CloudFormation's functions replaced by what they could give."""
    match value:
        case {"Ref": str(name)} | {"GetAtt": str(name)}:
            return _value(name, resources)
        case {"Sub": [str(text), {**given}]}:
            return _substituted(text, resources, given)
        case {"Sub": str(text)}:
            return _substituted(text, resources, {})
        case {"If": [_, chosen, _]}:
            return filled_in(chosen, resources)
        case dict():
            return {key: filled_in(each, resources) for key, each in value.items()}
        case list():
            return [filled_in(each, resources) for each in value]
    return value


def _substituted(text: str, resources: dict[str, Any], given: Mapping[Any, Any]) -> str:
    return re.sub(
        r"\$\{([^}]+)\}",
        lambda found: "name" if found[1] in given else _value(found[1], resources),
        text,
    )


def _value(reference: str, resources: dict[str, Any]) -> str:
    name, _, attribute = reference.partition(".")
    if reference in VALUES:
        return VALUES[reference]
    kind = resources.get(name, {}).get("Type", "")
    return ARNS[kind] if kind in ARNS and attribute in {"", "Arn"} else "name"


if __name__ == "__main__":
    main(Path(sys.argv[1]))

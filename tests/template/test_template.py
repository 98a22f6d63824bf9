"""What the template promises, read from the template that is deployed."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cutout.aws import clients
from cutout.domain.tasks import OnUncertain
from cutout.settings import (
    BackfillSettings,
    BackstopSettings,
    ClockSettings,
    ConvertSettings,
    PollSettings,
    ReconcileSettings,
    Settings,
    SubmitSettings,
    WebhookSettings,
)
from cutout.submit import Submitter
from cutout.wavespeed import client
from tests.support.template import ROOT, resources, template

FUNCTIONS = {
    "SubmitFunction": SubmitSettings,
    "PollFunction": PollSettings,
    "WebhookFunction": WebhookSettings,
    "BackstopFunction": BackstopSettings,
    "ClockFunction": ClockSettings,
    "ConvertFunction": ConvertSettings,
    "BackfillFunction": BackfillSettings,
    "ReconcileFunction": ReconcileSettings,
}


@pytest.mark.parametrize(("function", "settings"), FUNCTIONS.items())
def test_a_function_gets_the_variables_that_its_settings_name(
    function: str, settings: type[Settings]
) -> None:
    common = template()["Globals"]["Function"]["Environment"]["Variables"]
    own = resources("AWS::Serverless::Function")[function]["Environment"]["Variables"]
    names = {name for name in common | own if not name.startswith("POWERTOOLS_")}

    assert names == {name.upper() for name in settings.model_fields}


def test_every_function_has_a_folder_a_role_and_a_log_group_of_its_own() -> None:
    functions = resources("AWS::Serverless::Function")

    folders = {properties["CodeUri"] for properties in functions.values()}
    assert folders == {f"functions/{path.name}" for path in (ROOT / "functions").iterdir()}
    for part in ("Role", "LoggingConfig"):
        assert len({json.dumps(properties[part]) for properties in functions.values()}) == len(
            functions
        )


def test_the_submit_function_has_time_for_its_whole_batch() -> None:
    submit = resources("AWS::Serverless::Function")["SubmitFunction"]
    batch = submit["Events"]["Uploads"]["Properties"]["BatchSize"]
    slowest = max(
        sum(part or 0 for part in (vendor.connect, vendor.write, vendor.read, vendor.pool))
        for vendor in (client._TIMEOUT, client._SYNC_TIMEOUT)
    )
    aws_calls = 8 * 5  # each of the calls around the POST, slow
    convert = resources("AWS::Serverless::Function")["ConvertFunction"]["Timeout"]

    assert submit["Timeout"] >= batch * (slowest + aws_calls + convert)
    assert clients.LAMBDA_CONFIG.read_timeout > convert  # type: ignore[attr-defined]


def test_a_message_stays_hidden_while_it_is_worked_on() -> None:
    queue = resources("AWS::SQS::Queue")["UploadQueue"]
    submit = resources("AWS::Serverless::Function")["SubmitFunction"]

    assert queue["VisibilityTimeout"] >= 6 * submit["Timeout"]


def test_a_lease_outlives_the_function_that_holds_it() -> None:
    submit = resources("AWS::Serverless::Function")["SubmitFunction"]

    assert int(submit["Environment"]["Variables"]["LEASE_SECONDS"]) > submit["Timeout"]


def test_every_queue_hands_its_failures_on() -> None:
    queues = resources("AWS::SQS::Queue")
    targets = resources("AWS::Events::Rule")["UploadRule"]["Targets"]

    assert "RedrivePolicy" in queues["UploadQueue"]
    assert all("DeadLetterConfig" in target for target in targets)


@pytest.mark.parametrize("bucket", ["InputBucket", "OutputBucket"])
def test_a_bucket_is_private_encrypted_versioned_and_tidied(bucket: str) -> None:
    properties = resources("AWS::S3::Bucket")[bucket]

    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["BucketEncryption"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = properties["LifecycleConfiguration"]["Rules"]
    assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
    assert any("NoncurrentVersionExpiration" in rule for rule in rules)
    assert template()["Resources"][bucket]["DeletionPolicy"] == "Retain"


def test_every_bucket_and_queue_refuses_plain_http() -> None:
    policies = resources("AWS::S3::BucketPolicy") | resources("AWS::SQS::QueuePolicy")

    for policy in policies.values():
        statements = policy["PolicyDocument"]["Statement"]
        denied = [s for s in statements if s["Effect"] == "Deny"]
        assert denied[0]["Condition"] == {"Bool": {"aws:SecureTransport": False}}
        # Whether AWS takes one policy for several queues is documented nowhere.
        assert len(policy.get("Queues", [policy.get("Bucket")])) == 1
    assert len(policies) == 6


def test_no_role_may_do_more_than_a_list_of_named_actions() -> None:
    for role in resources("AWS::IAM::Role").values():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                assert "*" not in json.dumps(actions)
                if statement["Resource"] == "*":
                    assert statement["Sid"] in {"Trace", "DeliverLogs", "WakeTheWaitLoop"}


def test_what_counts_an_uncertain_task_is_what_its_alarm_reads() -> None:
    variables = template()["Globals"]["Function"]["Environment"]["Variables"]
    alarm = resources("AWS::CloudWatch::Alarm")["UncertainTasksAlarm"]

    assert alarm["Namespace"] == variables["POWERTOOLS_METRICS_NAMESPACE"]
    assert alarm["Dimensions"] == [
        {"Name": "service", "Value": variables["POWERTOOLS_SERVICE_NAME"]}
    ]


def test_every_number_that_an_operator_may_tune_has_bounds() -> None:
    for name, parameter in template()["Parameters"].items():
        assert parameter["Description"], name
        if parameter["Type"] == "Number":
            bounded = {"MinValue", "MaxValue"} <= set(parameter)
            assert bounded or "AllowedValues" in parameter, name
        elif "AllowedPattern" in parameter:
            assert parameter["ConstraintDescription"], name
            default = str(parameter["Default"])
            assert re.fullmatch(parameter["AllowedPattern"], default), name


def test_every_parameter_is_used_and_listed_for_the_console() -> None:
    body = (ROOT / "template.yaml").read_text()
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    listed = [name for group in groups for name in group["Parameters"]]

    assert sorted(listed) == sorted(template()["Parameters"])
    for name in listed:
        assert re.search(rf"(!Ref {name}\b|\$\{{{name}\}})", body), name


def test_what_the_serverless_application_repository_shows_is_the_projects_own() -> None:
    """https://docs.aws.amazon.com/serverlessrepo/latest/devguide/serverlessrepo-quick-start.html"""
    shown = template()["Metadata"]["AWS::ServerlessRepo::Application"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert (shown["Name"], shown["SemanticVersion"]) == (project["name"], project["version"])
    assert shown["SpdxLicenseId"] == project["license"]
    assert shown["Author"] in (ROOT / "LICENSE").read_text()
    for page in ("LicenseUrl", "ReadmeUrl"):  # files, which `sam package` uploads
        assert 0 < (ROOT / shown[page]).stat().st_size < 512 * 1024
    assert len(shown["Description"]) <= 256
    assert len(shown["Labels"]) <= 10
    assert all(re.fullmatch(r"[a-zA-Z0-9+_:/@-]{1,127}", label) for label in shown["Labels"])


def built(name: str, folder: Path) -> Path:
    """A layer as it goes to AWS."""
    subprocess.run(
        ["make", "-s", "-C", str(ROOT / "layers"), f"build-{name}"],
        env={
            "ARTIFACTS_DIR": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "UV_OFFLINE": "1",
        },
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("CutoutLayer", tmp_path_factory.mktemp("layer"))


def packages_and_size(layer: Path) -> tuple[set[str], int]:
    packages = {path.name for path in (layer / "python").iterdir()}
    return packages, sum(path.stat().st_size for path in layer.rglob("*") if path.is_file())


def test_the_layer_stays_lean(layer: Path) -> None:
    packages, size = packages_and_size(layer)

    assert {"cutout", "pydantic", "httpx", "aws_lambda_powertools"} <= packages
    assert not {"boto3", "botocore", "PIL", "pi_heif"} & packages
    assert size < 35_000_000


def test_what_decodes_images_is_in_a_layer_of_the_function_that_converts(tmp_path: Path) -> None:
    packages, size = packages_and_size(built("ConvertLayer", tmp_path))
    layers = {
        name: properties["Layers"]
        for name, properties in resources("AWS::Serverless::Function").items()
        if "Layers" in properties
    }

    assert {"PIL", "pi_heif"} <= packages
    assert all("aarch64" in path.name for path in (tmp_path / "python").rglob("*_imaging.*.so"))
    assert size < 40_000_000
    assert layers == {"ConvertFunction": [{"Ref": "ConvertLayer"}]}


def has_python_3_13() -> bool:
    try:
        return subprocess.run(["python3.13", "-c", ""], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_the_layer_is_compiled_for_the_runtime(layer: Path) -> None:
    """With hashes that are not checked: the times of files change on their way to AWS."""
    if not has_python_3_13():
        pytest.skip("only Python 3.13 compiles for Python 3.13")
    for module in ("cutout/submit", "pydantic/main", "httpx/_client"):
        path = layer / "python" / module
        compiled = path.parent / "__pycache__" / f"{path.name}.cpython-313.pyc"
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01


@pytest.mark.parametrize("layer", ["cutout", "convert"])
def test_every_package_of_a_layer_has_its_hash(layer: str) -> None:
    """And the version that the tests run with."""
    lines = (ROOT / "layers" / layer / "requirements.txt").read_text().replace("\\\n", " ")
    pinned = [line for line in lines.splitlines() if "==" in line]
    lock = (ROOT / "requirements.lock").read_text()

    assert pinned
    for line in pinned:
        assert "--hash=sha256:" in line
        assert f"{line.split()[0]} " in lock


def test_submission_has_no_adapter_that_the_template_gives_no_rights_for() -> None:
    """Each service that the submit function holds a client of is named in its role."""
    policies = resources("AWS::IAM::Policy").values()
    more = [policy for policy in policies if {"Ref": "SubmitRole"} in policy["Roles"]]
    role = json.dumps([resources("AWS::IAM::Role")["SubmitRole"], more])
    services = {
        "ledger": "dynamodb:",
        "governor": "dynamodb:",
        "schedule": "dynamodb:",
        "storage": "s3:",
        "wavespeed": "secretsmanager:",
        "price": "secretsmanager:",
        "queue": "sqs:",
        "wait_loop": "states:",
        "closer": "events:",
        "settler": "dynamodb:",
        "reuse": "dynamodb:",
        "convert_function": "lambda:",
    }

    adapters = set(Submitter.__dataclass_fields__) - {"settings", "clock"}
    assert adapters == set(services)
    assert all(prefix in role for prefix in services.values())


def test_every_role_has_the_permissions_boundary() -> None:
    boundary = {
        "Fn::If": [
            "HasPermissionsBoundary",
            {"Ref": "PermissionsBoundaryArn"},
            {"Ref": "AWS::NoValue"},
        ]
    }

    for name, role in resources("AWS::IAM::Role").items():
        assert role["PermissionsBoundary"] == boundary, name


def test_a_role_that_reads_a_secret_or_a_bucket_may_use_its_key() -> None:
    """With keys of the operator's own; S3 wants `Decrypt` for multipart uploads too."""
    policies = resources("AWS::IAM::Policy")
    roles = {
        name: json.dumps(role["Policies"]) for name, role in resources("AWS::IAM::Role").items()
    }

    for policy, action in (
        ("InputKeyPolicy", "s3:GetObject"),
        ("OutputKeyPolicy", "s3:PutObject"),
        ("SecretKeyPolicy", "secretsmanager:GetSecretValue"),
    ):
        users = {name for name, statements in roles.items() if f'"{action}"' in statements}
        if policy == "OutputKeyPolicy":
            users -= {"ConvertRole"}  # it saves copies of uploads, under their key
        if policy == "InputKeyPolicy":
            users -= {"ReconcileRole"}  # the same
        users -= {"BackfillRole"}  # it asks for no bytes, and S3 wants no key of who does not
        assert {name for name in roles if name in json.dumps(policies[policy]["Roles"])} == users
        (statement,) = policies[policy]["PolicyDocument"]["Statement"]
        assert "kms:Decrypt" in statement["Action"]
        assert statement["Condition"]["StringEquals"]["kms:ViaService"]


def test_copies_of_uploads_are_private_encrypted_as_they_are_and_gone_in_a_day() -> None:
    copies, uploads = (
        resources("AWS::S3::Bucket")[name] for name in ("ConvertedBucket", "InputBucket")
    )

    assert set(copies["PublicAccessBlockConfiguration"].values()) == {True}
    assert copies["BucketEncryption"] == uploads["BucketEncryption"]
    assert "VersioningConfiguration" not in copies  # or a deleted copy would stay
    expiring = [r for r in copies["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in r]
    assert [rule["ExpirationInDays"] for rule in expiring] == [1]


def test_what_decodes_images_can_read_uploads_and_save_copies_and_nothing_else() -> None:
    (policy,) = resources("AWS::IAM::Role")["ConvertRole"]["Policies"]
    allowed = {
        action
        for statement in policy["PolicyDocument"]["Statement"]
        for action in [statement["Action"]]
        if statement["Sid"] not in {"Log", "Trace"}
        for action in (action if isinstance(action, list) else [action])
    }

    assert allowed == {"s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:ListBucket"}


def test_without_conversion_nothing_of_it_exists() -> None:
    named = {
        resource.get("Condition")
        for name, resource in template()["Resources"].items()
        if name.startswith("Convert") or name.endswith("ConvertedPolicy")
    }

    assert named == {"ConvertsUploads", "EncryptsCopies"}


def test_pngs_can_be_read_only_if_they_are_reused() -> None:
    policy = template()["Resources"]["ReusePolicy"]
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert policy["Condition"] == "ReusesResults"
    assert policy["Properties"]["Roles"] == [{"Ref": "PollRole"}]
    assert statement["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert "OutputBucket" in json.dumps(statement["Resource"])
    assert template()["Parameters"]["ReuseResults"]["Default"] == "false"


def test_only_what_is_under_the_prefix_can_be_read() -> None:
    roles = json.dumps(resources("AWS::IAM::Role"))

    others = {"SaveCopies", "FindPngs"}  # of the bucket for copies, and of the output bucket
    assert "${Bucket}/${InputPrefix}*" in roles
    for role in resources("AWS::IAM::Role").values():
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]:
            if "s3:GetObject" in statement["Action"] and statement["Sid"] not in others:
                assert statement["Resource"]["Fn::Sub"][0].endswith("/${InputPrefix}*")


@pytest.mark.parametrize(
    ("parameter", "value", "allowed"),
    [
        ("WaveSpeedBaseUrl", "https://api.example.com", True),
        ("WaveSpeedBaseUrl", "http://127.0.0.1:8080", True),
        ("WaveSpeedBaseUrl", "http://api.wavespeed.ai", False),
        ("WaveSpeedBaseUrl", "http://localhost.example.com", False),
        (
            "ApiKeySecretArn",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a/b-AbCdEf",
            True,
        ),
        ("ApiKeySecretArn", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a/b", False),
        ("InputKmsKeyArn", "arn:aws:kms:eu-west-1:123456789012:key/12ab-34cd", True),
        ("InputKmsKeyArn", "arn:aws:kms:eu-west-1:123456789012:alias/mine", False),
        ("NotificationEmail", "ops@example.com", True),
        ("NotificationEmail", "ops", False),
    ],
)
def test_a_parameter_takes_what_works_and_refuses_what_does_not(
    parameter: str, value: str, allowed: bool
) -> None:
    pattern = template()["Parameters"][parameter]["AllowedPattern"]

    assert (re.fullmatch(pattern, value) is not None) is allowed


def test_lambda_does_not_filter_what_powertools_writes() -> None:
    """With LogFormat JSON it would, by a level of its own, and LogLevel would do nothing."""
    variables = template()["Globals"]["Function"]

    assert variables["LoggingConfig"] == {"LogFormat": "Text"}
    assert variables["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == {"Ref": "LogLevel"}


def test_with_the_webhook_off_nothing_of_it_exists() -> None:
    named = {
        name: resource.get("Condition")
        for name, resource in template()["Resources"].items()
        if name.startswith("Webhook") or "FunctionUrlConfig" in resource.get("Properties", {})
    }

    assert set(named.values()) == {"WebhookOn"}
    assert template()["Parameters"]["Webhook"]["Default"] == "off"


def test_only_who_settles_may_query_the_ledger() -> None:
    policy = template()["Resources"]["SettlePolicy"]
    parameters = template()["Parameters"]
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]

    assert policy["Condition"] == "SettleUncertain"
    assert template()["Conditions"]["SettleUncertain"] == {
        "Fn::Equals": [{"Ref": "OnUncertain"}, OnUncertain.SETTLE]
    }
    assert statement["Action"] == "dynamodb:Query"
    assert statement["Resource"] == {"Fn::Sub": "${TasksTable.Arn}/index/by-status"}
    assert parameters["OnUncertain"]["AllowedValues"] == list(OnUncertain)
    assert parameters["OnUncertain"]["Default"] == OnUncertain.HOLD
    assert parameters["KeyIsDedicated"]["Default"] == "false"


def test_a_bus_that_is_not_there_stops_the_deployment() -> None:
    """EventBridge takes events for such a bus and drops them, but no rule can be made on it."""
    rule = resources("AWS::Events::Rule")["EventBusExists"]

    assert rule["EventBusName"] == {"Ref": "EventBusName"}
    assert rule["State"] == "DISABLED"
    assert "Targets" not in rule


def test_the_ledger_outlives_mistakes() -> None:
    table = template()["Resources"]["TasksTable"]
    properties = table["Properties"]

    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    assert properties["DeletionProtectionEnabled"] is True
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert "SSESpecification" not in properties


def test_a_layer_belongs_to_its_stack_and_its_processor() -> None:
    layer = template()["Resources"]["CutoutLayer"]

    assert layer["Properties"]["LayerName"] == {"Fn::Sub": "${AWS::StackName}-cutout"}
    assert layer["Metadata"]["BuildArchitecture"] == "arm64"
    assert layer["Properties"]["CompatibleArchitectures"] == ["arm64"]

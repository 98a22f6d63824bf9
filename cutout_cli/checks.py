"""What `cutout doctor` looks at, without changing or spending anything."""

import json
from collections.abc import Iterator
from decimal import Decimal
from math import ceil
from typing import Any

import httpx
from botocore.exceptions import ClientError

from cutout.domain.messages import VendorAnswer, VendorQuestion
from cutout_cli.costs import POLLED, STATE_TRANSITIONS, WITH_WEBHOOK
from cutout_cli.doctor import Check, Finding, State
from cutout_cli.stacks import Stack

# Of a submit, and of the polls of one image, in seconds: see docs/costs.md.
_SUBMIT_SECONDS, _POLLS_SECONDS = 2, 2.5
_OTHERS = 2  # the clock and the backstop function
_TIMEOUT = 10  # seconds that a callback URL may take to answer


def account(stack: Stack) -> Iterator[Finding]:
    sts = stack.client("sts")
    who = sts.get_caller_identity()
    where = f"account {who['Account']} in {sts.meta.region_name}, as {who['Arn']}"
    yield Finding("account", State.OK, where)


def deployment(stack: Stack) -> Iterator[Finding]:
    if stack.status.endswith("_COMPLETE") and "ROLLBACK" not in stack.status:
        yield Finding("deployment", State.OK, f"the stack {stack.name} is {stack.status}")
        return
    yield Finding(
        "deployment",
        State.WARNING,
        f"the stack {stack.name} is {stack.status}: it is being changed, or its last change failed",
        "look at its events in CloudFormation; deploy again",
    )


def ask_vendor(stack: Stack, question: VendorQuestion.Detail) -> VendorAnswer:
    """What the vendor says to the stack's own key; the clock function asks. Raises `ClientError`.

    Who may invoke the clock can do nothing with it but wake what is due, so that nobody needs the
    right to read the key.
    """
    payload = VendorQuestion(detail=question).model_dump_json(by_alias=True)
    answer = stack.client("lambda").invoke(
        FunctionName=stack.resources["ClockFunction"][1], Payload=payload.encode()
    )
    said = answer["Payload"].read()
    if "FunctionError" in answer:
        why = json.loads(said).get("errorMessage", "no reason was given")
        return VendorAnswer(code="clock_failed", reason=f"the clock function failed: {why}")
    return VendorAnswer.model_validate_json(said)


def vendor(stack: Stack) -> Iterator[Finding]:
    answer = ask_vendor(stack, VendorQuestion.Detail())
    if answer.balance is None:
        remedy = f"see `{answer.code}` in docs/operations.md; nothing is sent meanwhile"
        yield Finding("key", State.FAILED, answer.reason or "the vendor said nothing", remedy)
        return
    yield Finding("key", State.OK, "the vendor takes the key that the functions use")
    if answer.price is None:
        why = f"the vendor tells no price of {stack.parameters['ModelId']}: {answer.reason}"
        yield Finding("price", State.WARNING, why, "PricePerImage is used; check ModelId")
    else:
        yield _price(stack, answer.price)
    yield _balance(stack, answer.balance, answer.price or _price_per_image(stack))


def _price_per_image(stack: Stack) -> Decimal:
    return Decimal(stack.parameters["PricePerImage"])


def _price(stack: Stack, price: Decimal) -> Finding:
    told = f"an image costs ${price} with {stack.parameters['ModelId']}"
    counted = _price_per_image(stack)
    if counted and price > counted:
        return Finding(
            "price",
            State.WARNING,
            f"{told}, more than PricePerImage (${counted}); the dashboard counts too little",
            "deploy with that PricePerImage; the budget counts the vendor's price already",
        )
    return Finding("price", State.OK, told)


def _balance(stack: Stack, balance: Decimal, price: Decimal) -> Finding:
    images = f", which is {int(max(balance, Decimal(0)) / price):,} images" if price else ""
    told = f"the vendor's account has ${balance:.2f}{images}"
    if balance < price:
        return Finding("balance", State.FAILED, f"{told}: uploads wait", "top it up")
    low = Decimal(stack.parameters.get("LowBalance", "0"))
    if balance < low:
        return Finding("balance", State.WARNING, f"{told}, below LowBalance", "top it up")
    hint = "" if low else "; LowBalance is 0, so no alarm rings before it is spent"
    return Finding("balance", State.OK, told + hint)


def events(stack: Stack) -> Iterator[Finding]:
    """S3's notifications and the rules, without which nothing moves by itself."""
    bucket = stack.input_bucket
    notified = stack.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    if "EventBridgeConfiguration" in notified:
        yield Finding("events", State.OK, f"{bucket} sends its events to EventBridge")
    else:
        yield Finding(
            "events",
            State.FAILED,
            f"{bucket} sends no events to EventBridge: uploads are not seen",
            f"cutout watch-bucket {bucket}{stack.options}; then upload again what came meanwhile",
        )
    queue = stack.outputs["UploadQueueUrl"].rpartition("/")[2]
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        if name != "EventBusExists":  # which has no targets, and is disabled for good
            yield _rule(stack, rule, queue if name == "UploadRule" else "", name)


def _rule(stack: Stack, rule: str, target: str, name: str) -> Finding:
    client = stack.client("events")
    described = client.describe_rule(Name=rule)
    targets = [found["Arn"] for found in client.list_targets_by_rule(Rule=rule)["Targets"]]
    remedy = f"aws events enable-rule --name {rule}"
    if described["State"] != "ENABLED":
        return Finding("rule", State.FAILED, f"{name} is disabled: it tells nobody", remedy)
    if not any(arn.endswith(target) for arn in targets):
        what = f"{name} does not lead to {target or 'its function'}"
        return Finding("rule", State.FAILED, what, "deploy the stack again")
    if target and f'"{stack.input_bucket}"' not in described.get("EventPattern", ""):
        what = f"{name} does not name {stack.input_bucket}"
        return Finding("rule", State.FAILED, what, "deploy the stack again")
    return Finding("rule", State.OK, f"{name} is enabled and has its target")


def buckets(stack: Stack) -> Iterator[Finding]:
    for bucket, parameter in (
        (stack.input_bucket, "InputKmsKeyArn"),
        (stack.output_bucket, "OutputKmsKeyArn"),
    ):
        yield _policy(stack, bucket)
        yield _encryption(stack, bucket, stack.parameters.get(parameter, ""), parameter)
    versions = stack.client("s3").get_bucket_versioning(Bucket=stack.input_bucket)
    if versions.get("Status") != "Enabled":
        yield Finding(
            "versions",
            State.WARNING,
            f"{stack.input_bucket} keeps no versions: what is replaced before it was sent is gone",
            "turn on versioning",
        )


def _policy(stack: Stack, bucket: str) -> Finding:
    try:
        policy = stack.client("s3").get_bucket_policy(Bucket=bucket)["Policy"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
            raise
        policy = '{"Statement": []}'
    denied = [s for s in _statements(policy) if s["Effect"] == "Deny" and not _only_plain_http(s)]
    if denied:
        names = ", ".join(str(s.get("Sid") or s.get("Action")) for s in denied)
        return Finding(
            "bucket policy",
            State.WARNING,
            f"the policy of {bucket} denies more than plain HTTP ({names})",
            "see that it excepts the stack's roles; the image below shows whether it does",
        )
    return Finding("bucket policy", State.OK, f"the policy of {bucket} denies nothing to the stack")


def _statements(policy: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] | dict[str, Any] = json.loads(policy)["Statement"]
    return [found] if isinstance(found, dict) else found


def _only_plain_http(statement: dict[str, Any]) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {})
    return str(condition.get("aws:SecureTransport")).lower() == "false"


def _encryption(stack: Stack, bucket: str, named: str, parameter: str) -> Finding:
    answer = stack.client("s3").get_bucket_encryption(Bucket=bucket)
    (rule, *_) = answer["ServerSideEncryptionConfiguration"]["Rules"]
    key = rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID", "")
    own = key and "alias/aws/s3" not in key
    if own and key.rpartition("/")[2] != named.rpartition("/")[2]:
        return Finding(
            "encryption",
            State.FAILED,
            f"{bucket} encrypts under {key}, which {parameter} does not name: S3 refuses the roles",
            f"deploy with {parameter}, as the ARN of that key",
        )
    return Finding("encryption", State.OK, f"{bucket} encrypts under {key or 'a key of S3'}")


def keys(stack: Stack) -> Iterator[Finding]:
    """Keys of the operator's own: enabled, and their policy leaves it to IAM or names the roles."""
    client = stack.client("kms")
    for parameter in ("InputKmsKeyArn", "OutputKmsKeyArn", "SecretKmsKeyArn"):
        if not (key := stack.parameters.get(parameter)):
            continue
        state = client.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
        if state != "Enabled":
            what = f"the key of {parameter} is {state}: what it encrypts cannot be read"
            yield Finding("key in KMS", State.FAILED, what, "enable it")
            continue
        policy = client.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        if _leaves_it_to_iam(policy, key.split(":")[4]):
            yield Finding(
                "key in KMS", State.OK, f"the key of {parameter} can be used by the roles"
            )
        else:
            yield Finding(
                "key in KMS",
                State.WARNING,
                f"the policy of the key of {parameter} does not leave it to the account's IAM",
                "let it name the stack's roles, or arn:aws:iam::ACCOUNT:root",
            )


def _leaves_it_to_iam(policy: str, account_id: str) -> bool:
    for statement in _statements(policy):
        principal = statement.get("Principal", {})
        named = principal if isinstance(principal, str) else principal.get("AWS", [])
        root = {"*", account_id, f"arn:aws:iam::{account_id}:root"}
        if statement["Effect"] == "Allow" and root & set(
            [named] if isinstance(named, str) else named
        ):
            return True
    return False


def concurrency(stack: Stack) -> Iterator[Finding]:
    needed = functions_at_once(stack.parameters)
    limit = stack.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    told = f"the account may run {limit:,} functions at once; the parameters can need {needed}"
    if limit >= needed:
        yield Finding("concurrency", State.OK, told)
        return
    remedy = "ask Service Quotas for more (Lambda, Concurrent executions), or lower the parameters"
    yield Finding("concurrency", State.WARNING, f"{told}: calls are throttled and late", remedy)


def functions_at_once(parameters: dict[str, str]) -> int:
    """How many functions a steady stream of uploads has running at the same time."""
    submits = int(parameters["SubmitConcurrency"])
    return submits + ceil(_images_a_second(parameters) * _POLLS_SECONDS) + _OTHERS


def _images_a_second(parameters: dict[str, str]) -> float:
    submits = int(parameters["SubmitConcurrency"])
    return int(parameters["ImagesPerMinute"]) / 60 or submits / _SUBMIT_SECONDS


def transitions(stack: Stack) -> Iterator[Finding]:
    needed = ceil(transitions_a_second(stack.parameters))
    pages = stack.client("service-quotas").get_paginator("list_service_quotas")
    rates = [
        quota["Value"]
        for page in pages.paginate(ServiceCode="states")
        for quota in page["Quotas"]
        if all(word in quota["QuotaName"].lower() for word in ("statetransition", "refill"))
    ]
    if not rates:
        told = "Service Quotas lists no rate of state transitions"
        yield Finding("state transitions", State.UNKNOWN, told, "docs/limits.md has the defaults")
        return
    told = f"the account has {min(rates):,.0f} a second; the parameters can need {needed}"
    if min(rates) >= needed:
        yield Finding("state transitions", State.OK, told)
        return
    remedy = "ask Service Quotas for more (Step Functions, StateTransition), or set Webhook=on"
    yield Finding("state transitions", State.WARNING, f"{told}: executions go on later", remedy)


def transitions_a_second(parameters: dict[str, str]) -> float:
    """State transitions of a steady stream of uploads, for a model that takes four seconds."""
    image = WITH_WEBHOOK if parameters["Webhook"] == "on" else POLLED
    of_an_image = STATE_TRANSITIONS.image + STATE_TRANSITIONS.poll * float(image.polls)
    return _images_a_second(parameters) * of_an_image


def webhook(stack: Stack) -> Iterator[Finding]:
    """An unsigned callback reaches the function, which refuses it."""
    if stack.parameters["Webhook"] == "off":
        return
    url = stack.outputs["WebhookUrl"]
    trust = stack.environment.get("AWS_CA_BUNDLE") if stack.is_local else None
    try:
        status = httpx.post(f"{url}doctor", verify=_trusted(trust), timeout=_TIMEOUT).status_code
    except httpx.HTTPError as error:
        what = f"{url} cannot be reached from here ({type(error).__name__})"
        yield Finding("webhook", State.FAILED, what, "images come by polling meanwhile")
        return
    if status == httpx.codes.UNAUTHORIZED:
        told = "the webhook can be reached, and refuses what the vendor did not sign"
        yield Finding("webhook", State.OK, told)
        return
    yield Finding(
        "webhook",
        State.FAILED,
        f"{url} answers {status} where 401 is due: callbacks do not come through",
        "its permissions may have been removed (Lambda.1); deploy again, or set Webhook=off",
    )


def _trusted(ca_file: str | None) -> Any:
    return httpx.create_ssl_context(verify=ca_file) if ca_file else True


def alarms(stack: Stack) -> Iterator[Finding]:
    """Which ring, and whether somebody hears it."""
    found = alarms_of(stack)
    if ringing := sorted(a["AlarmName"] for a in found if a["StateValue"] == "ALARM"):
        remedy = "docs/operations.md says of each what to do"
        yield Finding("alarms", State.WARNING, f"in alarm: {', '.join(ringing)}", remedy)
    else:
        yield Finding("alarms", State.OK, f"none of {len(found)} is in alarm")
    if muted := sorted(a["AlarmName"] for a in found if not a.get("ActionsEnabled", True)):
        remedy = "aws cloudwatch enable-alarm-actions"
        yield Finding("alarms", State.WARNING, f"tell nobody: {', '.join(muted)}", remedy)
    topics = sorted({topic for alarm in found for topic in alarm.get("AlarmActions", [])})
    if not topics:
        remedy = "deploy with NotificationEmail or AlarmTopicArn"
        yield Finding("alarms", State.WARNING, "they are shown in the console only", remedy)
    for topic in topics:
        yield _listeners(stack, topic)


def alarms_of(stack: Stack) -> list[dict[str, Any]]:
    """The stack's alarms, as CloudWatch describes them."""
    names = set(stack.of_type("AWS::CloudWatch::Alarm").values())
    pages = stack.client("cloudwatch").get_paginator("describe_alarms")
    prefix = f"{stack.name}-"
    return [
        alarm
        for page in pages.paginate(AlarmNamePrefix=prefix)
        for alarm in page["MetricAlarms"]
        if alarm["AlarmName"] in names
    ]


def _listeners(stack: Stack, topic: str) -> Finding:
    pages = stack.client("sns").get_paginator("list_subscriptions_by_topic")
    found = [one for page in pages.paginate(TopicArn=topic) for one in page["Subscriptions"]]
    confirmed = [one for one in found if one["SubscriptionArn"].startswith("arn:")]
    if confirmed:
        who = ", ".join(f"{one['Protocol']} {one['Endpoint']}" for one in confirmed)
        return Finding("listeners", State.OK, f"alarms are told to {who}")
    asked = ", ".join(one["Endpoint"] for one in found)
    return Finding(
        "listeners",
        State.FAILED,
        f"nobody has confirmed a subscription of {topic}: alarms are told to nobody",
        f"confirm the e-mail of SNS to {asked}" if asked else "subscribe to the topic",
    )


CHECKS: dict[str, Check] = {
    "account": account,
    "deployment": deployment,
    "key": vendor,
    "events": events,
    "buckets": buckets,
    "keys in KMS": keys,
    "concurrency": concurrency,
    "state transitions": transitions,
    "webhook": webhook,
    "alarms": alarms,
}

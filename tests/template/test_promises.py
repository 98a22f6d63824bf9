"""Numbers and words of the template that a promise stands on; mutants of each are caught here."""

from typing import Any

from cutout.domain.tasks import EXECUTION_CHECK
from tests.support.template import resources, state_machine, template

DAYS = 24 * 60 * 60
# Step Functions' own: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
BAD_ENDS = {"FAILED", "TIMED_OUT", "ABORTED"}


def function(name: str) -> dict[str, Any]:
    return resources("AWS::Serverless::Function")[name]


def seconds(name: str, variable: str) -> int:
    return int(function(name)["Environment"]["Variables"][variable])


def test_a_message_that_failed_waits_as_long_as_sqs_keeps_any() -> None:
    for name, queue in resources("AWS::SQS::Queue").items():
        assert queue["MessageRetentionPeriod"] == 14 * DAYS, name
        assert queue["SqsManagedSseEnabled"], name


def test_the_operator_says_how_often_a_message_is_received() -> None:
    redrive = resources("AWS::SQS::Queue")["UploadQueue"]["RedrivePolicy"]

    assert redrive["maxReceiveCount"] == {"Ref": "MaxReceives"}


def test_an_event_is_delivered_for_a_day_before_it_is_a_dead_letter() -> None:
    (upload,) = resources("AWS::Events::Rule")["UploadRule"]["Targets"]
    ended = function("BackstopFunction")["Events"]["ExecutionEnded"]["Properties"]

    for target in (upload, ended):
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == DAYS
        assert target["RetryPolicy"]["MaximumRetryAttempts"] == 185  # EventBridge's most
        assert target["DeadLetterConfig"]


def test_only_messages_that_failed_come_back() -> None:
    """Without this word, Lambda deletes what the handler reports as failed."""
    uploads = function("SubmitFunction")["Events"]["Uploads"]["Properties"]

    assert uploads["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert uploads["BatchSize"] == 1


def test_a_lock_outlives_the_function_that_holds_it() -> None:
    assert seconds("PollFunction", "LOCK_SECONDS") > function("PollFunction")["Timeout"]


def test_the_clock_has_the_senders_lease_and_comes_often() -> None:
    assert seconds("ClockFunction", "LEASE_SECONDS") == seconds("SubmitFunction", "LEASE_SECONDS")
    (tick,) = function("ClockFunction")["Events"].values()
    assert tick["Properties"]["Schedule"] == "rate(1 minute)"
    assert function("ClockFunction")["Timeout"] < EXECUTION_CHECK.total_seconds()


def test_the_backstop_is_told_of_every_bad_end_and_tried_again() -> None:
    backstop = function("BackstopFunction")
    pattern = backstop["Events"]["ExecutionEnded"]["Properties"]["Pattern"]

    assert set(pattern["detail"]["status"]) == BAD_ENDS
    assert backstop["EventInvokeConfig"]["MaximumRetryAttempts"] == 2  # Lambda's most


def test_the_ledger_can_be_restored_and_forgets_by_its_own_attribute() -> None:
    table = template()["Resources"]["TasksTable"]
    properties = table["Properties"]

    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["DeletionProtectionEnabled"]
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["DeletionPolicy"] == "Retain"


def test_no_data_of_an_execution_is_logged() -> None:
    logging = resources("AWS::Serverless::StateMachine")["WaitLoop"]["Logging"]

    assert logging["IncludeExecutionData"] is False
    assert logging["Level"] == "ERROR"


def test_the_input_bucket_tells_eventbridge_and_both_forget_what_was_not_finished() -> None:
    buckets = resources("AWS::S3::Bucket")
    told = buckets["InputBucket"]["NotificationConfiguration"]["EventBridgeConfiguration"]

    assert told["EventBridgeEnabled"]
    unfinished = [
        rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        for bucket in buckets.values()
        for rule in bucket["LifecycleConfiguration"]["Rules"]
        if "AbortIncompleteMultipartUpload" in rule
    ]
    assert set(unfinished) == {1}


# ------------------------------------------------------------------ the wait loop


def retriers(state: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state_machine()["States"][state]["Retry"]
    return found


def test_a_retry_waits_ever_longer_up_to_a_minute() -> None:
    for state in ("Poll", "Close"):
        for retrier in retriers(state):
            assert (retrier["IntervalSeconds"], retrier["BackoffRate"]) == (2, 2)
            assert retrier["MaxDelaySeconds"] == 60
            assert retrier["JitterStrategy"] == "FULL"


def test_a_poll_is_tried_again_after_each_trouble_that_is_not_the_images() -> None:
    aws, killed = ({*retrier["ErrorEquals"]} for retrier in retriers("Poll"))

    assert aws == {
        "ServiceError",
        "StatusChanged",
        "Lambda.TooManyRequestsException",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
    }
    mixed = {"AttributeError", "TypeError", "ValidationError"}  # of versions, in a deployment
    assert killed == mixed | {
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.Unknown",
        "Runtime.ExitError",
        "Runtime.HandlerNotFound",
        "Runtime.ImportModuleError",
        "Runtime.Unknown",
        "Sandbox.Timedout",
        "States.Timeout",
    }


def test_whatever_ends_a_poll_or_cannot_be_closed_is_told() -> None:
    for state, following in {"Poll": "Close", "Close": "Failed"}.items():
        (last,) = state_machine()["States"][state]["Catch"]
        assert (last["ErrorEquals"], last["Next"]) == (["States.ALL"], following)
    assert retriers("Close")[0]["ErrorEquals"] == [
        "ServiceError",
        "States.TaskFailed",
        "States.Timeout",
    ]


def test_every_status_leads_where_it_belongs() -> None:
    choice = state_machine()["States"]["What now?"]
    ways = {way["Condition"]: way["Next"] for way in choice["Choices"]}

    def is_(status: str) -> str:
        return f'$states.input.status = "{status}"'

    assert ways == {
        f"{{% {is_('completed')} %}}": "Completed",
        f"{{% {is_('superseded')} %}}": "Superseded",
        f"{{% {is_('queued')} %}}": "Queued again",
        f"{{% {is_('processing')} and $states.input.await_callback %}}": "Wait for callback",
        f"{{% {is_('processing')} %}}": "Wait",
    }
    assert choice["Default"] == "Close"
    assert state_machine()["States"]["Wait"]["Next"] == "Poll"


def test_a_token_is_left_only_for_a_callback_that_has_not_come() -> None:
    waiting = state_machine()["States"]["Wait for callback"]

    assert waiting["Arguments"]["ConditionExpression"] == (
        "#status = :processing AND attribute_not_exists(called_back_at)"
    )
    assert waiting["Catch"][0]["ErrorEquals"] == [
        "States.Timeout",
        "DynamoDb.ConditionalCheckFailedException",
    ]
    assert (waiting["Catch"][0]["Next"], waiting["Catch"][1]["Next"]) == ("Poll", "Wait")

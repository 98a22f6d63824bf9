"""Have a bucket's events sent to EventBridge, whatever else it notifies."""

from typing import Any

from cutout_cli.errors import BucketNotWatched

# Of the answer, not of the configuration.
_ANSWER = "ResponseMetadata"
_EVENTBRIDGE = "EventBridgeConfiguration"


def watch(s3: Any, bucket: str, *, on: bool) -> bool:
    """Turn EventBridge notifications on or off; whether that changed anything.

    S3 knows no change of one notification, only all of them at once: they are read, merged,
    written, and read again, for somebody else may have written in between. Raises
    `BucketNotWatched` then.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html
    """
    before = _read(s3, bucket)
    if (_EVENTBRIDGE in before) == on:
        return False
    wanted = {name: value for name, value in before.items() if name != _EVENTBRIDGE}
    if on:
        wanted[_EVENTBRIDGE] = {}
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration=wanted,
        # The others were checked when they were made; S3 would send each a test message.
        SkipDestinationValidation=True,
    )
    after = _read(s3, bucket)
    if after != wanted:
        raise BucketNotWatched(
            f"the notifications of {bucket} are not what was written: somebody else changes them; "
            "look at them and try again"
        )
    return True


def _read(s3: Any, bucket: str) -> dict[str, Any]:
    answer: dict[str, Any] = s3.get_bucket_notification_configuration(Bucket=bucket)
    return {name: value for name, value in answer.items() if name != _ANSWER}

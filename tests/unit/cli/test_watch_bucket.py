"""A bucket's events are turned on, and its other notifications stay."""

import json
from typing import Any

import pytest

from cutout_cli.bucket import watch
from cutout_cli.errors import BucketNotWatched
from tests.unit.cli.conftest import Cutout


class Bucket:
    """The notifications of one bucket, replaced as a whole by each write, if it is written."""

    def __init__(self, *, written: bool = True) -> None:
        self.now: dict[str, Any] = {"QueueConfigurations": [{"Id": "own"}]}
        self._written = written

    def get_bucket_notification_configuration(self, **_: str) -> dict[str, Any]:
        return {"ResponseMetadata": {}, **self.now}

    def put_bucket_notification_configuration(self, **asked: Any) -> None:
        assert asked["SkipDestinationValidation"]  # S3 would send test messages to all others
        if self._written:
            self.now = asked["NotificationConfiguration"]


def test_a_bucket_keeps_its_other_notifications(
    cutout: Cutout, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = Bucket()
    before = s3.now
    monkeypatch.setattr("cutout_cli.stacks.find_account", lambda *_: lambda _service: s3)

    watched = cutout("watch-bucket", "uploads").stdout
    assert watched == "uploads sends its events to EventBridge\n"
    assert s3.now == before | {"EventBridgeConfiguration": {}}
    assert cutout("watch-bucket", "uploads").stdout.endswith("EventBridge, as before\n")
    told = json.loads(cutout("watch-bucket", "uploads", "--json").stdout)
    assert told == {"bucket": "uploads", "sends": True, "changed": False}
    assert cutout("watch-bucket", "uploads", "--undo").exit_code == 0
    assert s3.now == before


def test_a_change_by_somebody_else_is_noticed() -> None:
    with pytest.raises(BucketNotWatched, match="somebody else"):
        watch(Bucket(written=False), "uploads", on=True)

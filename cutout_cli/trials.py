"""What `cutout doctor` tries: an image from end to end, and an alarm from end to end."""

import io
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
from PIL import Image

from cutout.domain.messages import VendorQuestion
from cutout.domain.tasks import Status, Task
from cutout_cli.checks import alarms_of, ask_vendor
from cutout_cli.doctor import Finding, State
from cutout_cli.stacks import Stack
from cutout_cli.tasks import Tasks
from cutout_cli.uploads import LOOK_EVERY_AWS, LOOK_EVERY_LOCAL

_NAME = "cutout-doctor.jpg"
_LISTED_WITHIN = timedelta(minutes=2)
_ASK_EVERY = 1.0  # seconds between two questions about the vendor's history


def tiny_image() -> bytes:
    """A ball before a plain backdrop; its colours are new each time, so that it equals no other."""
    rng = np.random.default_rng(secrets.randbits(64))
    y, x = np.mgrid[:192, :256]
    inside = np.hypot(x - 128, y - 96) < 64
    ball, backdrop = rng.uniform(120, 255, 3), rng.uniform(0, 90, 3)
    shade = rng.normal(0, 12, (192, 256, 1))
    pixels = np.where(inside[..., None], ball + shade, backdrop + y[..., None] / 8)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


class ImageTrial:
    """One image through the whole stack; it costs what an image costs."""

    def __init__(self, stack: Stack, timeout: float) -> None:
        self._stack = stack
        self._timeout = timeout
        self._key = stack.parameters.get("InputPrefix", "") + _NAME
        self._asked_at = 0.0
        self._listed_after: float | None = None
        self._ended_after: float | None = None

    def __call__(self, _stack: Stack) -> Iterator[Finding]:
        s3 = self._stack.client("s3")
        bucket = self._stack.input_bucket
        started = time.monotonic()
        put = s3.put_object(Bucket=bucket, Key=self._key, Body=tiny_image())
        task = self._followed(put["ETag"].strip('"'), started)
        yield self._finding(task)
        if task and task.prediction_id:
            yield self._history(task)

    def _followed(self, etag: str, started: float) -> Task | None:
        """The task when it has ended and the history was asked, or where it is when time is up."""
        every = LOOK_EVERY_LOCAL if self._stack.is_local else LOOK_EVERY_AWS
        task = None
        while time.monotonic() - started < self._timeout:
            task = self._task(etag)
            if task and task.status.ended and self._ended_after is None:
                self._ended_after = time.monotonic() - started
            if task and task.prediction_id and self._listed_after is None:
                self._ask(task)
            if task and task.status.ended and not self._still_asks(task):
                break
            time.sleep(every)
        return task

    def _task(self, etag: str) -> Task | None:
        revisions = Tasks(self._stack).revisions(self._key)
        return next((task for task in revisions if task.etag == etag), None)

    def _still_asks(self, task: Task) -> bool:
        sent = task.entered_at.get(Status.PROCESSING)
        waiting = sent and datetime.now(UTC) - sent < _LISTED_WITHIN
        return bool(waiting) and self._listed_after is None

    def _ask(self, task: Task) -> None:
        if time.monotonic() - self._asked_at < _ASK_EVERY:
            return
        self._asked_at = time.monotonic()
        sent = task.entered_at[Status.PROCESSING]
        since = task.entered_at[Status.SUBMITTING] - timedelta(minutes=1)
        question = VendorQuestion.Detail(prediction_id=task.prediction_id, since=since)
        if ask_vendor(self._stack, question).listed:
            self._listed_after = max(0.0, (datetime.now(UTC) - sent).total_seconds())

    def _finding(self, task: Task | None) -> Finding:
        if task is None:
            return Finding(
                "image",
                State.FAILED,
                f"{self._key} was uploaded, and was not seen within {self._timeout:g} s",
                "S3 needs five minutes after EventBridge was turned on; then see the rule above",
            )
        if task.status is Status.COMPLETED:
            told = f"{task.output_key} was there {self._ended_after:.1f} s after the upload"
            return Finding("image", State.OK, told)
        explain = f"cutout explain {self._key}{self._stack.options}"
        why = f"{self._key} is {task.status}: {task.reason or 'it is on its way'}"
        ended = task.status.ended and task.status is not Status.SUPERSEDED
        return Finding("image", State.FAILED if ended else State.WARNING, why, explain)

    def _history(self, task: Task) -> Finding:
        grace = int(self._stack.parameters.get("UncertainGraceSeconds", "600"))
        within = self._listed_after
        if within is None and self._stack.parameters.get("EraseAtVendor") == "true":
            told = "not measured: EraseAtVendor had the image deleted before the history was asked"
            return Finding("history", State.OK, told)
        if within is None:
            told = f"the vendor's history does not list prediction {task.prediction_id} yet"
            settles = self._stack.parameters["OnUncertain"] == "settle"
            remedy = "raise UncertainGraceSeconds: settle relies on the history" if settles else ""
            return Finding("history", State.WARNING, told, remedy)
        told = f"the vendor's history lists an image within {within:.1f} s of its submit"
        return Finding("history", State.OK, f"{told} (UncertainGraceSeconds is {grace})")


class AlarmTrial:
    """Set one alarm, which tells whom all of them tell, and ask whether that came."""

    def __init__(self, arrived: Callable[[str], bool | None]) -> None:
        """`arrived` asks a person; None: nobody is there to answer."""
        self._arrived = arrived

    def __call__(self, stack: Stack) -> Iterator[Finding]:
        quiet = [alarm for alarm in alarms_of(stack) if alarm["StateValue"] != "ALARM"]
        told = [alarm for alarm in quiet if alarm.get("AlarmActions")]
        if not told:
            yield Finding("test alarm", State.UNKNOWN, "there is no alarm that would tell anybody")
            return
        name = told[0]["AlarmName"]
        # CloudWatch takes it back when it next looks at the metric.
        stack.client("cloudwatch").set_alarm_state(
            AlarmName=name,
            StateValue="ALARM",
            StateReason="a test by cutout doctor: nothing is wrong",
        )
        came = self._arrived(f"{name} was set, as a test; has its message come?")
        if came is None:
            told_text = f"{name} was set; see whether its message comes"
            yield Finding("test alarm", State.UNKNOWN, told_text)
        elif came:
            yield Finding("test alarm", State.OK, f"the message of {name} came")
        else:
            remedy = "look at the topic's subscriptions, its policy, and the mail's spam folder"
            yield Finding("test alarm", State.FAILED, f"the message of {name} did not come", remedy)

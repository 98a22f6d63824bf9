"""Lambda: have the convert function make the copy of an upload that the vendor can read."""

import json
from typing import TYPE_CHECKING

from cutout.aws.errors import served
from cutout.domain.errors import ConversionInterrupted, NotNow, Rejected, ServiceError
from cutout.domain.messages import ConvertAnswer, ConvertRequest
from cutout.domain.tasks import Task
from cutout.domain.uploads import ConvertedImage, ObjectRevision

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_REASONS = {kind.__name__: kind for of in (Rejected, NotNow) for kind in of.__subclasses__()}


class ConvertFunction:
    """The function of this name. It makes one copy of a task's upload, however often asked."""

    def __init__(self, client: "LambdaClient", name: str) -> None:
        self._client = client
        self._name = name

    def convert(self, task: Task) -> ConvertedImage:
        """The copy of the task's upload, made now or before.

        Raises a `Rejected` if there can be none, a `NotNow` if there may be one later,
        `ConversionInterrupted` if the function did not come to its end, and `ServiceError` if
        Lambda did not run it, or another service failed it.
        """
        upload = ObjectRevision.model_validate(task, from_attributes=True)
        request = ConvertRequest(task_id=task.task_id, upload=upload)
        with served("Lambda failed to run the convert function"):
            reply = self._client.invoke(
                FunctionName=self._name, Payload=request.model_dump_json().encode()
            )
            payload = reply["Payload"].read()
        if "FunctionError" in reply:
            if json.loads(payload).get("errorType") == ServiceError.__name__:
                raise ServiceError("an AWS service failed the convert function; see its log")
            raise ConversionInterrupted("the convert function was interrupted; it is tried again")
        answer = ConvertAnswer.model_validate_json(payload)
        if answer.image is None:
            raise _REASONS[answer.error](answer.reason)
        return answer.image

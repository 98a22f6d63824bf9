"""The errors of the server.

ServerError
├── CannotListen
├── CannotStart
├── NoRemover
└── WorkerDied
Refusal                 an answer other than 200
├── BadRequest          400
│   └── NoCredits
├── Unauthorized        401
├── NotFound            404
│   └── PredictionNotFound
├── LimitReached        429
└── InternalError       500
TaskFailure             a task that ends as failed
├── MediaNotFetched
├── BadMedia
├── ExecutionFailed
├── ServerFailure
└── Interrupted         ends as cancelled, timeout or deleted
"""

from cutout.domain.errors import CutoutError
from cutout.wavespeed.contract import PredictionStatus
from cutout_local.wavespeed.contract import (
    CONCURRENCY_LIMIT,
    INSUFFICIENT_CREDITS,
    PREDICTION_NOT_FOUND,
    TaskCode,
)


class ServerError(CutoutError):
    """The server itself cannot do its work."""


class CannotListen(ServerError):
    """The address is taken or not allowed."""


class CannotStart(ServerError):
    """The application stopped while it started."""


class NoRemover(ServerError):
    """The remover that was asked for cannot run here."""


class WorkerDied(ServerError):
    """A worker process ended in the middle of an image, twice."""


class Refusal(Exception):
    """A request is answered with an error."""

    status = 500


class BadRequest(Refusal):
    """The request cannot be understood or asks for what is not there."""

    status = 400


class NoCredits(BadRequest):
    """The balance does not cover the price."""

    def __init__(self) -> None:
        super().__init__(INSUFFICIENT_CREDITS)


class Unauthorized(Refusal):
    """The API key is missing or wrong."""

    status = 401

    def __init__(self) -> None:
        super().__init__("Unauthorized: the API key is missing or wrong")


class NotFound(Refusal):
    """There is no such thing, or it has expired."""

    status = 404


class PredictionNotFound(NotFound):
    """No task has this id, or it was deleted or has expired."""

    def __init__(self) -> None:
        super().__init__(PREDICTION_NOT_FOUND)


class LimitReached(Refusal):
    """The plan allows no further task now."""

    status = 429

    def __init__(self, message: str = CONCURRENCY_LIMIT) -> None:
        super().__init__(message)


class InternalError(Refusal):
    """The server failed."""

    def __init__(self) -> None:
        super().__init__("internal server error")


class TaskFailure(Exception):
    """A task fails; the text goes into its `error`, the code into its `code`.

    Workers raise it too, so it must survive pickling: one string argument, no more.
    """

    code = TaskCode.SERVER
    status = PredictionStatus.FAILED


class MediaNotFetched(TaskFailure):
    """The image could not be fetched from its URL."""

    code = TaskCode.MEDIA_NOT_FETCHED


class BadMedia(TaskFailure):
    """What was fetched is not an image that can be worked on."""

    code = TaskCode.INVALID_PARAMETER


class ExecutionFailed(TaskFailure):
    """The remover found nothing to cut out."""

    code = TaskCode.EXECUTION


class ServerFailure(TaskFailure):
    """The fault is the server's, not the image's."""

    code = TaskCode.SERVER


class Interrupted(TaskFailure):
    """A fault ends the task with a status other than failed."""

    def __init__(self, status: PredictionStatus) -> None:
        super().__init__(f"the task was ended as {status}, as a fault asked it to")
        self.status = status

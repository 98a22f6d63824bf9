"""What AWS answers instead of serving a call, as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from botocore.exceptions import BotoCoreError, ClientError

from cutout.domain.errors import ServiceError

# A HEAD has no body, and so no code but its status.
_GONE = {"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "404", "PreconditionFailed", "412"}


@contextmanager
def served(failure: str) -> Iterator[None]:
    """Raise `ServiceError` with this text if AWS does not serve the calls that are made in it."""
    try:
        yield
    except ClientError as error:
        raise ServiceError(f"{failure} ({code(error)})") from error
    except BotoCoreError as error:
        raise ServiceError(failure) from error


def code(error: ClientError) -> str:
    """The service's own name of an error, such as NoSuchKey."""
    return error.response["Error"]["Code"]


def is_gone(error: ClientError) -> bool:
    """Whether S3 has no such object, or another one by now."""
    return code(error) in _GONE


def is_refused(error: ClientError) -> bool:
    """Whether asking again would be answered the same."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.FORBIDDEN

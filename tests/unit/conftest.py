from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from moto import mock_aws
from moto.core.serialize import AttributePicker, AttributePickerContext
from pytest_socket import disable_socket, enable_socket

from tests.support.harness import PipelineHarness


@pytest.fixture(autouse=True)
def no_sockets() -> Iterator[None]:
    """Unit tests talk to nobody; event loops need a socket pair, which is a Unix socket."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture(scope="session", autouse=True)
def exact_keys() -> Iterator[None]:
    """What an answer lacks, moto seeks under five other names, for an eighth of a test's time."""
    seek = AttributePicker.__call__

    def pick(self: AttributePicker, context: AttributePickerContext) -> Any:
        is_missing = isinstance(context.obj, dict) and context.key not in context.obj
        return None if is_missing else seek(self, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AttributePicker, "__call__", pick)
        yield


@pytest.fixture(scope="session")
def session() -> boto3.Session:
    """Kept, because it keeps the descriptions of the services, which are slow to read."""
    return boto3.Session()


@pytest.fixture
def aws(session: boto3.Session) -> Iterator[boto3.Session]:
    """Everything that is made of it answers from memory, which is empty at first."""
    with mock_aws():
        yield session


@pytest.fixture(scope="session")
def clients(session: boto3.Session) -> Callable[[str], Any]:
    """Each service's client, made once: to make one takes longer than most tests.

    Only S3's sign, for its presigned URLs: a signature takes as long as a table's answer.
    """
    unsigned = Config(signature_version=UNSIGNED)
    return cache(lambda name: session.client(name, config=None if name == "s3" else unsigned))


@pytest.fixture
def harness(
    aws: boto3.Session,
    clients: Callable[[str], Any],
) -> Iterator[PipelineHarness]:
    """The pipeline around an AWS in memory and a vendor that says what the test wants."""
    harness = PipelineHarness(clients)
    yield harness
    harness.close()

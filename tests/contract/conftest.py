from collections.abc import Iterator

import pytest

from tests.contract.harness import ServerHarness, serve
from tests.support import engines


@pytest.fixture(scope="session")
def shared_server() -> Iterator[ServerHarness]:
    with serve() as running:
        yield running


@pytest.fixture
def server(shared_server: ServerHarness) -> Iterator[ServerHarness]:
    """The server that the tests share, without faults before and after."""
    shared_server.set_faults()
    yield shared_server
    shared_server.set_faults()


@pytest.fixture(scope="session")
def image_url(shared_server: ServerHarness) -> str:
    """An image that can be cut out."""
    return shared_server.upload(engines.make_image())


@pytest.fixture(scope="session")
def blank_url(shared_server: ServerHarness) -> str:
    """An image without a subject."""
    return shared_server.upload(engines.make_blank())

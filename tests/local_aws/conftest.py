from collections.abc import Iterator

import pytest

from tests.local_aws.support import Account, account


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """One account for all tests that leave it usable."""
    with account(tmp_path_factory.mktemp("aws")) as shared:
        yield shared

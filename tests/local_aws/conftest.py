from __future__ import annotations

from collections.abc import Iterator

import pytest

from cutout_local.aws import LocalAws

from .support import PARAMETERS, SECRETS, TEMPLATE


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    """One stack for the tests of a module."""
    with LocalAws(TEMPLATE, PARAMETERS, secrets=SECRETS) as stack:
        yield stack

"""No test can reach a real AWS account, whatever is configured on the machine it runs on."""

import gc
import os
from collections.abc import Iterator
from functools import cache

import pytest
from botocore.loaders import JSONFileLoader
from hypothesis import settings

# Time limits would make tests depend on how busy the machine is.
settings.register_profile("cutout", deadline=None)
settings.load_profile("cutout")

# A million objects of modules and tests live to the end; to look at them again and again takes a
# fifth of the time.
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests last, for they fill both cores, and the others mostly wait."""
    items.sort(key=lambda item: item.nodeid.startswith("tests/unit/"))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "POWERTOOLS_METRICS_NAMESPACE": "Cutout",
    "POWERTOOLS_SERVICE_NAME": "cutout-test",
}


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    """Fake credentials and a region; nothing of the developer's own AWS configuration."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in _ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def descriptions() -> Iterator[None]:
    """Of AWS's services: hundreds of sessions would each parse them anew."""
    read = cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _self, path: read(path))
        yield

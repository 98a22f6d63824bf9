"""The vendor's API key, from Secrets Manager."""

import re
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from cutout.domain.errors import ApiKeyUnavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_CACHE_SECONDS = 300
_KEY = re.compile(r"[!-~]+")  # what a header can carry: anything else would fail in the submit


class ApiKey:
    """Call it for the key. It is cached for five minutes, so that a rotated key is picked up."""

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._provider = SecretsProvider(boto3_client=client)
        self._secret_id = secret_id

    def __call__(self) -> str:
        """The key. Raises `ApiKeyUnavailable`."""
        try:
            value = self._provider.get(self._secret_id, max_age=_CACHE_SECONDS)
        except GetParameterError as error:
            raise ApiKeyUnavailable(
                f"the secret {self._secret_id} cannot be read; check its name and its value"
            ) from error
        key = str(value).strip()  # keys piped into the secret often end in a newline
        if key.startswith(("{", "[", '"')):  # the console's form makes JSON of it
            raise ApiKeyUnavailable(
                f"the secret {self._secret_id} holds JSON; put the key itself into it as plain text"
            )
        if isinstance(value, bytes) or not _KEY.fullmatch(key):
            raise ApiKeyUnavailable(
                f"the secret {self._secret_id} holds no API key; put the key into it as plain text"
            )
        return key

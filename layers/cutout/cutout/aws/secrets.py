"""The vendor's API key, from Secrets Manager."""

import re
import time
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from cutout.domain.errors import ApiKeyUnavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_CACHE_SECONDS = 300
_FRESH_SECONDS = 60  # a key that stays wrong must not have each request read the secret
_KEY = re.compile(r"[!-~]+")  # what a header can carry: anything else would fail in the submit


class ApiKey:
    """Call it for the key. It is cached for five minutes, so that a rotated key is picked up."""

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._provider = SecretsProvider(boto3_client=client)
        self._secret_id = secret_id
        self._freshened_at: float | None = None

    def __call__(self) -> str:
        """The key. Raises `ApiKeyUnavailable`."""
        return self._read(fresh=False)

    def fresh(self) -> str:
        """The key as it is now, or was when it was last asked for so within a minute.

        Raises `ApiKeyUnavailable`.
        """
        now = time.monotonic()
        due = self._freshened_at is None or now - self._freshened_at >= _FRESH_SECONDS
        if due:
            self._freshened_at = now  # before the read: one that fails counts too
        return self._read(fresh=due)

    def _read(self, *, fresh: bool) -> str:
        try:
            value = self._provider.get(self._secret_id, max_age=_CACHE_SECONDS, force_fetch=fresh)
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

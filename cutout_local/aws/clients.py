"""boto3 clients, each made once."""

from __future__ import annotations

from threading import Lock
from typing import Any

import boto3


class Clients:
    """Making a client takes longer than most calls do, and is not safe from several threads."""

    def __init__(self) -> None:
        self._session = boto3.Session()
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = Lock()

    def client(self, service_name: str, aws_access_key_id: str, **settings: Any) -> Any:
        """The client of a service for an access key; the first one's settings count."""
        key = (service_name, aws_access_key_id)
        with self._lock:
            if key not in self._made:
                self._made[key] = self._session.client(  # type: ignore[call-overload]
                    service_name, aws_access_key_id=aws_access_key_id, **settings
                )
            return self._made[key]

    def close(self) -> None:
        for client in self._made.values():
            client.close()

"""What a client needs to reach the local AWS: a key, and a certificate to trust."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import trustme

REGION = "eu-central-2"
"""Not us-east-1: in the older regions, version 1 of the AWS CLI calls SQS at an address of its own,
whatever AWS_ENDPOINT_URL says."""
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Credentials:
    """The account's root user. Made anew for each folder, so that no other stack has the same."""

    access_key_id: str
    secret_access_key: str

    @classmethod
    def of(cls, folder: Path) -> "Credentials":
        """Those of a folder, made when it has none."""
        file = folder / "credentials.json"
        if not file.exists():
            made = cls(f"AKIA{secrets.token_hex(8).upper()}", secrets.token_hex(20))
            file.touch(mode=0o600)
            file.write_text(json.dumps(asdict(made)))
        return cls(**json.loads(file.read_text()))


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: the server's certificate and key, and the authority that clients trust."""

    ca: Path
    chain: Path
    key: Path

    @classmethod
    def of(cls, folder: Path) -> "Certificate":
        """That of a folder, made when it has none."""
        files = cls(folder / "ca.pem", folder / "server.pem", folder / "server.key")
        if not files.chain.exists():
            files._make()
        return files

    def _make(self) -> None:
        authority = trustme.CA()
        server = authority.issue_cert(HOST, "localhost")
        self.key.touch(mode=0o600)
        server.private_key_pem.write_to_path(self.key)
        authority.cert_pem.write_to_path(self.ca)
        for pem in server.cert_chain_pems:
            pem.write_to_path(self.chain, append=True)

"""Under which key an upload's output appears."""

from enum import StrEnum
from pathlib import PurePosixPath

from cutout.domain.errors import KeyTooLong

MAX_KEY_BYTES = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html


class OutputNaming(StrEnum):
    """`append`: `a/cat.jpg` becomes `a/cat.jpg.png`; `replace`: it becomes `a/cat.png`."""

    APPEND = "append"
    REPLACE = "replace"


def output_key(key: str, naming: OutputNaming, prefix: str = "") -> str:
    """The output key that mirrors an input key."""
    suffix = PurePosixPath(key).suffix if naming is OutputNaming.REPLACE else ""
    return f"{prefix}{key.removesuffix(suffix)}.png"


def check_output_key(key: str) -> None:
    """Raise `KeyTooLong` if S3 would refuse the key."""
    size = len(key.encode())
    if size > MAX_KEY_BYTES:
        raise KeyTooLong(
            f"the output's key would have {size} bytes and S3 allows {MAX_KEY_BYTES}; "
            "upload the object under a shorter key"
        )

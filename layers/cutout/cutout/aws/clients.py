"""The boto3 clients of the functions, and how they are configured."""

import os
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,  # no call of ours takes longer; the default of 60 s hides a dead peer
    retries={"mode": "standard", "total_max_attempts": 5},
)
# Version 4 signatures are the only ones that all regions take in presigned URLs. Unless the style
# is named, boto3 presigns for the global endpoint, which redirects to a new bucket's region for its
# first hours: there the signature, which covers the host, is refused.
S3_CONFIG = CONFIG.merge(Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))
# Longer than the convert function's own timeout; who calls it again is the ledger's business.
LAMBDA_CONFIG = CONFIG.merge(Config(read_timeout=70, retries={"total_max_attempts": 1}))
_CONFIGS = {"s3": S3_CONFIG, "lambda": LAMBDA_CONFIG}


def client(service: str) -> Any:
    """A client of an AWS service, by boto3's name for it."""
    make: Any = boto3.client  # typed for literal names only
    return make(service, config=_CONFIGS.get(service, CONFIG))


def during_init(build: Callable[[], object]) -> None:
    """Build what a handler needs when Lambda loads it, with a whole CPU and nobody waiting.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    """
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:  # not when a test imports the handler
        build()

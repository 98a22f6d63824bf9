"""How every boto3 client of this project is configured."""

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

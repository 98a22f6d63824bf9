"""IAM: who is the account's root user."""

import os
from collections.abc import Callable
from typing import Any

from cutout_local.aws.patching import replaces


@replaces("core.iam_evaluator", "is_root_access_key", "root user's key")
def _is_root(_original: Callable[[str], bool]) -> Any:
    """The root user has one key, and signs with it as everybody does.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
    To MiniStack, any account's number and `test` are keys of the root user, too, and his signature
    is not looked at. No upstream issue exists. Who has no key is asked for one in `gate`.
    """
    return lambda key: key in ("", os.environ["AWS_ACCESS_KEY_ID"])


@replaces("core.iam_evaluator", "_is_root_key", "root user's key")
def _needs_no_signature(_original: Callable[[str], bool]) -> Any:
    return lambda _key: False

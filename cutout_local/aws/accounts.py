"""IAM: who is the account's root user, and what a policy names."""

import os
import re
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


@replaces("core.iam_evaluator", "_fnmatch_compile", "wildcards and line breaks")
def _any_character(original: Callable[[str, bool], re.Pattern[str]]) -> Any:
    """A policy's wildcard stands for any characters, line breaks in an object's key among them.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    No upstream issue exists.
    """

    def compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        of_one_line = original(pattern, ignore_case)
        return re.compile(of_one_line.pattern, of_one_line.flags | re.DOTALL)

    return compiled

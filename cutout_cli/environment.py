"""A stack's endpoints as shell exports that win over the user's own AWS settings."""

import os
import shlex
from collections.abc import Mapping

# The AWS CLI and the SDKs prefer these to what is exported, or send them along.
# https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html
_RIVALS = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
)
_LOCAL = "127.0.0.1"


def exports(stack: Mapping[str, str], own: Mapping[str, str] = os.environ) -> list[str]:
    """Shell lines that lead to the stack; `own` is the environment they are evaluated in."""
    rivals = [name for name in own if name in _RIVALS or name.startswith("AWS_ENDPOINT_URL_")]
    unset = [f"unset {' '.join(rivals)}"] if rivals else []
    return unset + [f"export {name}={shlex.quote(value)}" for name, value in _all(stack, own)]


def unsets(stack: Mapping[str, str]) -> list[str]:
    """Shell lines that take the exports back; what they replaced is not known any more."""
    kept = {"NO_PROXY", "no_proxy"}  # they hold the user's own, too, and do no harm
    return [f"unset {name}" for name, _ in _all(stack, {}) if name not in kept]


def dotenv(stack: Mapping[str, str]) -> list[str]:
    """The lines of a .env file."""
    return [f"{name}={shlex.quote(value)}" for name, value in _all(stack, {})]


def _all(stack: Mapping[str, str], own: Mapping[str, str]) -> list[tuple[str, str]]:
    hosts = own.get("no_proxy") or own.get("NO_PROXY", "")
    direct = ",".join(dict.fromkeys([*filter(None, hosts.split(",")), _LOCAL]))
    more = {
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "NO_PROXY": direct,
        "no_proxy": direct,  # curl and Python look at this one first
    }
    return [*stack.items(), *more.items()]

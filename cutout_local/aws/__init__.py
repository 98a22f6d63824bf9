"""AWS on one machine: MiniStack in a process of its own, with the account's rules on."""

from cutout_local.aws.deploy import deploy, package
from cutout_local.aws.errors import DeployFailed, LocalAwsError, NotBuilt, PortTaken, StartFailed
from cutout_local.aws.faults import Call, Report, Rule
from cutout_local.aws.stack import LocalAws

__all__ = [
    "Call",
    "DeployFailed",
    "LocalAws",
    "LocalAwsError",
    "NotBuilt",
    "PortTaken",
    "Report",
    "Rule",
    "StartFailed",
    "deploy",
    "package",
]

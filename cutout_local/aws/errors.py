"""What can go wrong with the local AWS.

LocalAwsError
├── PortTaken
├── StartFailed
├── NotBuilt
└── DeployFailed
"""

from cutout.domain.errors import CutoutError


class LocalAwsError(CutoutError):
    """The local AWS cannot do what was asked."""


class PortTaken(LocalAwsError):
    """Another process listens on the port that was asked for."""


class StartFailed(LocalAwsError):
    """The server ended or did not answer; the message names its log."""


class NotBuilt(LocalAwsError):
    """There is nothing to deploy: `sam build` has not run."""


class DeployFailed(LocalAwsError):
    """CloudFormation refused the stack; the message names the resource and the reason."""

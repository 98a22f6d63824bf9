"""What can go wrong with the local stack.

LocalAwsError
├── AlreadyRunning
├── PortTaken
├── InvalidTemplate
├── StackFailed
└── UnmappedCall
"""

from __future__ import annotations


class LocalAwsError(Exception):
    """The local stack cannot do what was asked."""


class AlreadyRunning(LocalAwsError):
    """A process runs one local stack at a time: moto's state belongs to the process."""


class PortTaken(LocalAwsError):
    """Another process listens on the port that was asked for."""


class InvalidTemplate(LocalAwsError):
    """The template is missing, or is not a SAM template that can be run here."""


class StackFailed(LocalAwsError):
    """CloudFormation refused the stack; the message names the resource and the reason."""


class UnmappedCall(LocalAwsError):
    """Which IAM actions a call needs is not known here."""

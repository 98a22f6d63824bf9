"""AWS on one machine: the project's own template, state machine and handlers, run on moto."""

from .calls import OnCall
from .errors import AlreadyRunning, InvalidTemplate, LocalAwsError, PortTaken, StackFailed
from .stack import LocalAws

__all__ = [
    "AlreadyRunning",
    "InvalidTemplate",
    "LocalAws",
    "LocalAwsError",
    "OnCall",
    "PortTaken",
    "StackFailed",
]

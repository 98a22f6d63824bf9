"""AWS on one machine: the project's own template, state machine and handlers, run on moto."""

from .calls import Call, OnCall
from .errors import (
    AlreadyRunning,
    InvalidTemplate,
    LocalAwsError,
    PortTaken,
    StackFailed,
    UnmappedCall,
)
from .faults import AwsFaults, Fault, FaultRule
from .permissions import required_actions
from .stack import LocalAws

__all__ = [
    "AlreadyRunning",
    "AwsFaults",
    "Call",
    "Fault",
    "FaultRule",
    "InvalidTemplate",
    "LocalAws",
    "LocalAwsError",
    "OnCall",
    "PortTaken",
    "StackFailed",
    "UnmappedCall",
    "required_actions",
]

"""A WaveSpeed-compatible server: the vendor's HTTP contract with a remover of our own behind it."""

from cutout_local.wavespeed.app import create_app
from cutout_local.wavespeed.errors import (
    CannotListen,
    CannotStart,
    NoRemover,
    ServerError,
    TaskFailure,
)
from cutout_local.wavespeed.faults import HEADER as FAULT_HEADER
from cutout_local.wavespeed.faults import Fault, FaultRule
from cutout_local.wavespeed.server import Server
from cutout_local.wavespeed.settings import MODELS, TIERS, Model, Settings, Tier

__all__ = [
    "FAULT_HEADER",
    "MODELS",
    "TIERS",
    "CannotListen",
    "CannotStart",
    "Fault",
    "FaultRule",
    "Model",
    "NoRemover",
    "Server",
    "ServerError",
    "Settings",
    "TaskFailure",
    "Tier",
    "create_app",
]

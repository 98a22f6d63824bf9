"""Every place where MiniStack is changed. Importing a module registers its replacements."""

from cutout_local.aws import (  # noqa: F401
    accounts,
    deliveries,
    executions,
    functions,
    logs,
    metrics,
    objects,
    queues,
    resources,
)
from cutout_local.aws.patching import replace_all as apply

__all__ = ["apply"]

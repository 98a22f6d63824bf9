"""Every place where MiniStack is changed. Importing a module registers its replacements."""

from cutout_local.aws import deliveries, executions, functions, objects, resources  # noqa: F401
from cutout_local.aws.patching import replace_all as apply

__all__ = ["apply"]

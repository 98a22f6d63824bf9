"""What can go wrong in a command, and with which exit code it ends.

0 is success; 2 a command line that makes no sense, which nothing was done for; 130 an interruption.
"""

from cutout.domain.errors import CutoutError

FAILED, USAGE, TIMED_OUT, INTERRUPTED = 1, 2, 3, 130


class CommandError(CutoutError):
    """A command cannot do what was asked."""

    exit_code = FAILED


class PhotoNotFound(CommandError):
    """A path leads to no photo that can be read."""


class WouldOverwrite(CommandError):
    """A file is there that the command would replace."""


class CannotSave(CommandError):
    """A folder cannot be made or written to."""


class BadParameters(CommandError):
    """The template has no such parameter, or not with such a value."""

    exit_code = USAGE


class NoStackRunning(CommandError):
    """There is no local stack to talk to, or more than one."""


class PortInUse(CommandError):
    """Another process listens on a port of the local stack."""


class StillRunning(CommandError):
    """A local stack was told to end and did not."""


class BadMetadata(CommandError):
    """A text is no metadata that S3 would take."""

    exit_code = USAGE


class BadTime(CommandError):
    """A text is neither a time nor an age."""

    exit_code = USAGE


class BadStatus(CommandError):
    """A text is no status of a task."""

    exit_code = USAGE


class BucketNotWatched(CommandError):
    """A bucket's notifications were changed by somebody else at the same time."""


class NotRemoved(CommandError):
    """Something of a stack could not be deleted."""


class StackNotFound(CommandError):
    """CloudFormation has no such stack, or it is no Cutout."""


class NotACutout(StackNotFound):
    """There is a stack of this name, and it is something else, or is not deployed yet."""


class DeploymentFailed(CommandError):
    """The SAM CLI could not deploy."""


class UploadsNotSeen(CommandError):
    """What is uploaded does not come to the ledger."""

    exit_code = TIMED_OUT


class KeyNotFound(CommandError):
    """The ledger has no task of an object."""


class NothingToRetry(CommandError):
    """The task is on its way, or done, or must not be paid twice unasked."""


class NotErased(CommandError):
    """The vendor's copy is still needed, or there is none."""


class RunFailed(CommandError):
    """A run through the bucket failed or was stopped."""


class NotConfirmed(CommandError):
    """Nobody said yes."""


class NotHandled(CommandError):
    """A message of a dead-letter queue failed once more."""


class CannotFollow(CommandError):
    """Which task an upload is cannot be known."""


class WaitedTooLong(CommandError):
    """Nothing changed for as long as `--timeout` allows."""

    exit_code = TIMED_OUT

"""How all commands of `cutout` end: an error of ours is one line, a signal what a shell expects."""

import signal
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from cutout_cli.errors import FAILED, INTERRUPTED


class Program(TyperGroup):
    """The one place where errors become text and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        previous = signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            sys.stderr.close()  # whoever read the output has left: nothing more to say
            raise typer.Exit(FAILED) from None
        except Exception as error:
            text = explanation(error)
            if text is None:
                raise
            print(f"cutout: {text}", file=sys.stderr)
            raise typer.Exit(getattr(error, "exit_code", FAILED)) from None
        finally:
            signal.signal(signal.SIGTERM, previous)


def explanation(error: BaseException) -> str | None:
    """What an error of ours, of AWS or of the system says; None of any other: a defect."""
    # Here, because a command that succeeds, such as --help, need not wait for boto3.
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    from cutout.domain.errors import CutoutError

    if isinstance(error, CutoutError):
        cause = error.__cause__
        # What the system refused is in our own text already.
        told = None if cause is None or isinstance(cause, OSError) else explanation(cause)
        return f"{error}: {told}" if told else str(error)
    if isinstance(error, ClientError):
        # Of a refused call it names who, which action and which resource.
        detail = error.response.get("Error", {})
        told = detail.get("Message") or detail.get("Code")
        # But not of a HEAD, for its answer has no body.
        needs = " (it needs s3:GetObject)" if detail.get("Code") == "403" else ""
        return f"{error.operation_name}: {told}{needs}"
    if isinstance(error, OSError) and error.strerror:  # a full disk, a missing right
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) if isinstance(error, (BotoCoreError, Boto3Error)) else None


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt

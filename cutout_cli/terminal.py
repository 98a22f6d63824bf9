"""What is told to people, and asked of them, on standard error; results go to standard output."""

import sys

import typer

from cutout_cli.errors import NotConfirmed


def tell(text: str) -> None:
    """What is for people and not for the next program of a pipe."""
    print(text, file=sys.stderr, flush=True)


def confirm(question: str) -> None:
    """Ask on a terminal. Raises `NotConfirmed` if there is none, or nobody says yes."""
    if not sys.stdin.isatty():
        raise NotConfirmed(f"{question} There is nobody to ask; add --yes")
    if not typer.confirm(question, err=True):
        raise NotConfirmed("nothing was done")


def wanted(question: str, option: bool | None, *, yes: bool) -> bool | None:
    """What the command line says, or else a person; None if there is none to ask."""
    if option is not None:
        return option
    return True if yes else asked(question)


def asked(question: str) -> bool | None:
    """A person's answer; None if there is none to ask."""
    return typer.confirm(question, err=True) if sys.stdin.isatty() else None

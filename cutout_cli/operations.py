"""The commands that operate a stack, on AWS or on this machine."""

import json
import sys
from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.errors import NotConfirmed
from cutout_cli.text import plural, shown

app = typer.Typer()


def tell(text: str) -> None:
    """What is for people and not for the next program of a pipe."""
    print(text, file=sys.stderr)


def confirm(question: str) -> None:
    """Ask on a terminal. Raises `NotConfirmed` if there is none, or nobody says yes."""
    if not sys.stdin.isatty():
        raise NotConfirmed(f"{question} There is nobody to ask; add --yes")
    if not typer.confirm(question, err=True):
        raise NotConfirmed("nothing was done")


@app.command()
def retry(
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="The key of an upload.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All failed tasks.")] = False,
    code: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only those that failed with this code.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only failed tasks whose key begins with this.")] = "",
    pay_again: Annotated[
        bool,
        typer.Option("--pay-again", help="Send anew what the vendor accepted, or may have."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Take failed tasks up again, paying only if the vendor has no result of them.

    It says first what is fetched for nothing and what is paid.

    \b
    cutout retry album/cat.jpg
    cutout retry --failed --code timed_out --dry-run
    cutout retry --prefix album/ --stack cutout --yes
    """
    from cutout_cli.retry import Retries, chosen_tasks, cost_of
    from cutout_cli.stacks import find_stack

    if bool(key) == bool(failed or code or prefix):
        raise typer.BadParameter("name a KEY, or --failed, --code or --prefix")
    found = find_stack(stack, region, profile, aws_port)
    retries = Retries(found, pay_again=pay_again)
    plans = [retries.plan(task) for task in chosen_tasks(found, key, prefix, code)]
    for plan in plans:
        print(plan.as_json(sent=not dry_run) if as_json else plan.text)
    tell(cost_of(plans, retries.price(plans)))
    if dry_run:
        return
    if not key and not yes:
        confirm(f"retry {len(plans)}?")
    for plan in plans:
        retries.send(plan)


@app.command()
def redrive(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the messages.")] = False,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Put the messages of all dead-letter queues back to work, telling what each is about.

    A message is deleted when it has been handed on: stopped in between, it is handled twice, which
    changes nothing, and never lost.

    \b
    cutout redrive --dry-run
    cutout redrive --stack cutout
    """
    from cutout_cli.redrive import DeadLetters
    from cutout_cli.stacks import find_stack

    letters = DeadLetters(find_stack(stack, region, profile, aws_port))
    found = []
    for letter in letters.messages():
        found.append(letter)
        if not dry_run:
            letters.redrive(letter)
        line = {"queue": letter.queue, "about": letter.text, "redriven": not dry_run}
        print(json.dumps(line) if as_json else f"{letter.queue}: {shown(letter.text)}")
    for letter in found if dry_run else []:
        letters.put_back(letter)
    tell(f"{plural(len(found), 'message')} {'found' if dry_run else 'put back to work'}")

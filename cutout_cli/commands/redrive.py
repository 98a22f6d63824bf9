"""`cutout redrive`."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.terminal import tell
from cutout_cli.text import plural, shown


@options.of_stack
def redrive(
    find_stack: options.FindStack,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the messages.")] = False,
    delete_unknown: Annotated[
        bool, typer.Option("--delete-unknown", help="Delete what no function understands.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Put the messages of all dead-letter queues back to work, telling what each is about.

    A message is deleted when it has been handed on: stopped in between, it is handled twice, which
    changes nothing, and never lost. One that no function understands would fail again; it stays
    until it is deleted.

    \b
    cutout redrive --dry-run
    cutout redrive --stack cutout
    cutout redrive --stack cutout --delete-unknown
    """
    from cutout_cli.redrive import DeadLetter, DeadLetters

    letters = DeadLetters(find_stack())
    kept: list[DeadLetter] = []
    act: dict[str, Callable[[DeadLetter], None]] = {
        "redriven": letters.redrive,
        "deleted": letters.delete,
        "kept": kept.append,
    }
    done: Counter[str] = Counter()
    for letter in letters.messages():
        unknown = "deleted" if delete_unknown else "kept"
        what = "kept" if dry_run else unknown if letter.about is None else "redriven"
        act[what](letter)
        done[what] += 1
        line = {"queue": letter.queue, "about": letter.about, "done": what}
        print(json.dumps(line) if as_json else f"{letter.queue}: {shown(letter.text)}")
    for letter in kept:
        letters.put_back(letter)
    tell(_redriven(done, dry_run))


def _redriven(done: Counter[str], dry_run: bool) -> str:
    if dry_run:
        return f"{plural(done['kept'], 'message')} found"
    parts = [f"{plural(done['redriven'], 'message')} put back to work"]
    if done["deleted"]:
        parts.append(f"{done['deleted']} unknown deleted")
    if done["kept"]:
        parts.append(f"{done['kept']} unknown kept (--delete-unknown deletes them)")
    return "; ".join(parts)

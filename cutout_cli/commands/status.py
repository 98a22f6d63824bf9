"""`cutout status`."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import click
import typer

from cutout_cli import options
from cutout_cli.terminal import tell

WATCH_SECONDS = 2


@options.of_stack
def status(
    find_stack: options.FindStack,
    key: options.Key = None,
    prefix: Annotated[str, typer.Option(help="Tasks whose key begins with this.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Tasks that failed.")] = False,
    only_open: Annotated[
        bool, typer.Option("--open", help="Tasks that have not ended, uncertain ones included.")
    ] = False,
    since: options.Since = None,
    watch: Annotated[bool, typer.Option("--watch", help="The summary, until Ctrl-C.")] = False,
    as_json: options.Json = False,
) -> None:
    """Where uploads are: all of them in a summary, or a line each for those you choose.

    \b
    cutout status
    cutout status --watch
    cutout status album/cat.jpg
    cutout status --failed --since 2h --stack cutout
    """
    from cutout_cli import status as statuses
    from cutout_cli.tasks import Tasks, looks

    now = datetime.now(UTC)
    begin = statuses.time_of(since, now) if since else None
    found = find_stack()
    tasks = Tasks(found)
    chosen = bool(key or prefix or failed or only_open)
    if chosen and watch:
        raise typer.BadParameter("--watch shows the summary of all tasks")
    if key and (prefix or failed or only_open or since):
        raise typer.BadParameter("a KEY shows all of its tasks; leave out what chooses among them")
    if chosen:
        wanted = statuses.wanted(failed=failed, only_open=only_open)
        some = tasks.of_key(key) if key else tasks.find(wanted, prefix, begin)
        shown = some if key else sorted(some, key=lambda task: task.created_at)
        for task in shown:
            print(statuses.as_json(task) if as_json else statuses.line(task))
        if not shown:
            tell("there is no such task")
        return
    for _ in looks(WATCH_SECONDS):
        summary = statuses.summary(found, tasks.find(since=begin), datetime.now(UTC))
        if watch and sys.stdout.isatty():
            click.clear()
        print(summary.as_json() if as_json else "\n".join(summary.lines()), flush=True)
        if not watch:
            return

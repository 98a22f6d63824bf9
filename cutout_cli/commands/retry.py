"""`cutout retry`."""

from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.errors import NothingToRetry
from cutout_cli.terminal import confirm, tell


@options.of_stack
def retry(
    find_stack: options.FindStack,
    key: options.Key = None,
    failed: Annotated[bool, typer.Option("--failed", help="All failed tasks.")] = False,
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="All tasks in this status; several may be given."),
    ] = None,
    code: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only those with this code.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only those whose key begins with this.")] = "",
    pay_again: Annotated[
        bool,
        typer.Option("--pay-again", help="Send anew what the vendor accepted, or may have."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Take failed tasks up again, paying only if the vendor has no result of them.

    It says first what is fetched for nothing, what is paid, and why something is left as it is.
    Without --status, --code and --prefix choose among failed tasks.

    \b
    cutout retry album/cat.jpg
    cutout retry --failed --code timed_out --dry-run
    cutout retry --prefix album/ --stack cutout --yes
    cutout retry --status uncertain --pay-again
    cutout retry --status rejected --code too_many_pixels
    """
    from cutout_cli.retry import Retries, chosen_tasks, cost_of, named_statuses

    if bool(key) == bool(failed or status or code or prefix):
        raise typer.BadParameter("name a KEY, or --failed, --status, --code or --prefix")
    found = find_stack()
    retries = Retries(found, pay_again=pay_again)
    statuses = named_statuses([*(status or []), *(["failed"] if failed or not status else [])])
    plans = [retries.plan(task) for task in chosen_tasks(found, key, prefix, code, statuses)]
    sends = [plan for plan in plans if plan.sends]
    if not sends:
        raise NothingToRetry("\n".join(plan.text for plan in plans))
    for plan in plans:
        print(plan.as_json(sent=plan.sends and not dry_run) if as_json else plan.text)
    tell(cost_of(plans, retries.price(plans)))
    if dry_run:
        return
    if not key and not yes:
        confirm(f"retry {len(sends)}?")
    for plan in sends:
        retries.send(plan)

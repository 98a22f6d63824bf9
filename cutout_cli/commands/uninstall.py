"""`cutout uninstall`."""

from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.terminal import confirm, tell


@options.of_stack
def uninstall(
    find_stack: options.FindStack,
    delete_data: Annotated[
        bool,
        typer.Option("--delete-data", help="Delete the stack's buckets and table, and their data."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what goes.")] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Delete a stack, after saying what goes and what stays.

    \b
    cutout uninstall --stack cutout --dry-run
    cutout uninstall --stack cutout --delete-data
    """
    from cutout_cli.status import OPEN
    from cutout_cli.tasks import Tasks
    from cutout_cli.uninstall import Uninstaller

    found = find_stack()
    uninstaller = Uninstaller(found)
    plan = uninstaller.plan()
    open_tasks = sum(1 for _ in Tasks(found).find(OPEN))
    if as_json:
        print(plan.as_json(delete_data=delete_data, open_tasks=open_tasks))
    else:
        print("\n".join(plan.lines(delete_data=delete_data, open_tasks=open_tasks)))
    if dry_run:
        return
    if not yes:
        confirm(f"delete the stack {found.name}{' and its data' if delete_data else ''}?")
    uninstaller.remove(plan, delete_data=delete_data, tell=tell)

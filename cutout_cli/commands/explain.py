"""`cutout explain`."""

from typing import Annotated

import typer

from cutout_cli import options


@options.of_stack
def explain(
    find_stack: options.FindStack,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[KEY|TASK_ID]", help="The key of an upload, or a task's id."),
    ] = None,
    prediction: Annotated[
        str | None, typer.Option(metavar="ID", help="The vendor's id; reads the whole table.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Tell the whole story of an upload, and what to do now.

    It is taken from the ledger, the executions' histories, and, if WAVESPEED_API_KEY is set, the
    vendor.

    \b
    cutout explain album/cat.jpg
    cutout explain 5b3f0c9a7e1d4f28b6a09c3d2e1f4a5b --stack cutout
    cutout explain --prediction 6eef02a2fba04c72bc950c614d29bd41
    """
    from cutout_cli.explain import story
    from cutout_cli.tasks import Tasks

    if bool(name) == bool(prediction):
        raise typer.BadParameter("name a KEY, a TASK_ID or --prediction")
    found = find_stack()
    for task in Tasks(found).named(name or "", prediction):
        told = story(found, task)
        print(told.as_json() if as_json else "\n".join(told.lines()))

"""`cutout reconcile`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.errors import FAILED
from cutout_cli.terminal import tell


@options.of_stack
def reconcile(
    find_stack: options.FindStack,
    prefix: Annotated[str, typer.Option(help="Only uploads whose key begins with this.")] = "",
    page_size: options.PageSize = 1000,
    as_json: options.Json = False,
) -> None:
    """Compare bucket, ledger, outputs and the vendor's results, with a remedy for each difference.

    It changes nothing, and runs in the account as a backfill does. It ends with 1 if something is
    missing, or paid and not fetched.

    \b
    cutout reconcile
    cutout reconcile --prefix album/ --stack cutout --json
    """
    from cutout_cli import reconcile as reconciling
    from cutout_cli.pages import followed

    found = find_stack()
    runs, since = reconciling.runs(found), datetime.now(UTC)
    name = runs.start(reconciling.begin(found, prefix), page_size)
    counts = followed(runs, name)
    expected = reconciling.found(counts)
    run = name.rpartition("-")[0]
    listed = list(reconciling.findings(found, run, since, expected))
    for finding in listed:
        text = reconciling.remedy(finding, found)
        print(reconciling.as_json(finding, text) if as_json else f"{finding.kind}: {text}")
    tell(", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items())))
    if len(listed) < expected:
        tell(f"the log of the reconcile function shows only {len(listed)} of {expected} yet")
    if reconciling.amiss(counts):
        raise typer.Exit(FAILED)

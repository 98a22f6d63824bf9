"""The commands that operate a stack, on AWS or on this machine."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from cutout_cli import options
from cutout_cli.errors import FAILED, NotConfirmed, NothingToRetry
from cutout_cli.text import plural, shown

if TYPE_CHECKING:
    from cutout_cli.pages import Counts, Runs

app = typer.Typer()
WATCH_SECONDS = 2


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
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
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
    from cutout_cli.stacks import find_stack

    if bool(key) == bool(failed or status or code or prefix):
        raise typer.BadParameter("name a KEY, or --failed, --status, --code or --prefix")
    found = find_stack(stack, region, profile, aws_port)
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


@app.command()
def backfill(
    prefix: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Only keys that begin so; several go side by side."),
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(metavar="S3_URL", help="Read this manifest of an S3 Inventory instead."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop what runs.")] = False,
    page_size: Annotated[
        int, typer.Option(min=1, max=1000, help="Objects that are looked at at once.")
    ] = 1000,
    yes: options.Yes = False,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Send what is in the input bucket and not in the ledger, after saying how much it is.

    It runs in the account: this command may end meanwhile, and follows it when it is called again.
    Stopped, it goes on when it is started again: what the ledger or a PNG knows is left out.

    \b
    cutout backfill --dry-run
    cutout backfill --prefix 2024/ --prefix 2025/ --stack cutout
    cutout backfill --manifest s3://inventories/photos/all/2026-01-31T01-00Z/manifest.json
    cutout backfill --stop
    """
    from cutout_cli import backfill as backfills
    from cutout_cli.pages import cursors
    from cutout_cli.stacks import find_stack

    if prefix and manifest:
        raise typer.BadParameter("an inventory is read as a whole; leave out --prefix")
    found = find_stack(stack, region, profile, aws_port)
    runs = backfills.runs(found)
    if stop:
        tell(f"stopped: {', '.join(runs.stop()) or 'nothing, for nothing was running'}")
        return
    begin = cursors(found, prefix or [], manifest)
    if running := runs.running():
        tell(f"{running[0]} is running already; this follows it")
        counts = followed(runs, running[0])
    else:
        counts = followed(runs, runs.start(begin, page_size, dry_run=True))
    told = backfills.estimate(found, counts)
    sends = bool(told.missing and not dry_run and not running)
    if sends and not yes:
        confirm(f"{told.line()}; send them?")
    if sends:
        counts = followed(runs, runs.start(begin, page_size))
        told = backfills.estimate(found, counts)
    print(told.as_json(sent=sends) if as_json else told.line() + ("; sent" if sends else ""))


@app.command()
def reconcile(
    prefix: Annotated[str, typer.Option(help="Only uploads whose key begins with this.")] = "",
    page_size: Annotated[
        int, typer.Option(min=1, max=1000, help="Objects that are looked at at once.")
    ] = 1000,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Compare bucket, ledger, outputs and the vendor's results, with a remedy for each difference.

    It changes nothing, and runs in the account as a backfill does. It ends with 1 if something is
    missing, or paid and not fetched.

    \b
    cutout reconcile
    cutout reconcile --prefix album/ --stack cutout --json
    """
    from cutout_cli import reconcile as reconciling
    from cutout_cli.stacks import find_stack

    found = find_stack(stack, region, profile, aws_port)
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


def followed(runs: "Runs", name: str) -> "Counts":
    """What a run counts in all; on a terminal, how far it is."""
    from rich.progress import Progress, TextColumn

    from cutout_cli.report import console

    counts: dict[str, int] = {}
    column = TextColumn("{task.description}", markup=False)
    shows = console(stderr=True)
    with Progress(column, console=shows, transient=True, disable=not shows.is_terminal) as progress:
        shown_counts = progress.add_task(f"{name} runs")
        try:
            for counts in runs.follow(name):
                text = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
                progress.update(shown_counts, description=text)
        except KeyboardInterrupt:
            tell(f"{name} goes on in the account; the same command follows it")
            raise
    return counts


@app.command()
def redrive(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the messages.")] = False,
    delete_unknown: Annotated[
        bool, typer.Option("--delete-unknown", help="Delete what no function understands.")
    ] = False,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
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
    from cutout_cli.stacks import find_stack

    letters = DeadLetters(find_stack(stack, region, profile, aws_port))
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


@app.command()
def pause(
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Send no more images to the vendor until `resume`; those that are there go on.

    \b
    cutout pause --stack cutout
    """
    from cutout_cli.limits import governor, told
    from cutout_cli.stacks import find_stack

    found = governor(find_stack(stack, region, profile, aws_port))
    found.pause()
    print(told(found.plan()))


@app.command()
def resume(
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Send images again after `pause`; within a minute the oldest are taken up.

    \b
    cutout resume --stack cutout
    """
    from cutout_cli.limits import governor, told
    from cutout_cli.stacks import find_stack

    found = governor(find_stack(stack, region, profile, aws_port))
    found.resume()
    print(told(found.plan()))


@app.command()
def limit(
    images_per_minute: Annotated[
        int | None, typer.Option(min=0, max=10_000, help="0 is no limit.")
    ] = None,
    daily_budget: Annotated[
        float | None, typer.Option(min=0, max=1_000_000, metavar="USD", help="0 is no limit.")
    ] = None,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Change the rate or the budget at once, without a deployment; without options, show them.

    What is set here holds until it is set again, whatever the template's parameters say.

    \b
    cutout limit --images-per-minute 60
    cutout limit --daily-budget 5.50 --stack cutout
    """
    from cutout_cli.limits import governor, told
    from cutout_cli.stacks import find_stack

    found = governor(find_stack(stack, region, profile, aws_port))
    if images_per_minute is not None:
        found.set_rate(images_per_minute)
    if daily_budget is not None:
        found.set_budget(Decimal(str(daily_budget)))
    print(told(found.plan()))


@app.command()
def status(
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="The key of an upload.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Tasks whose key begins with this.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Tasks that failed.")] = False,
    only_open: Annotated[
        bool, typer.Option("--open", help="Tasks that have not ended, uncertain ones included.")
    ] = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Created since: 30m, 2h, 7d, 2026-01-31.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="The summary, until Ctrl-C.")] = False,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Where uploads are: all of them in a summary, or a line each for those you choose.

    \b
    cutout status
    cutout status --watch
    cutout status album/cat.jpg
    cutout status --failed --since 2h --stack cutout
    """
    from cutout_cli import status as statuses
    from cutout_cli.stacks import find_stack
    from cutout_cli.tasks import Tasks

    now = datetime.now(UTC)
    begin = statuses.time_of(since, now) if since else None
    found = find_stack(stack, region, profile, aws_port)
    tasks = Tasks(found)
    chosen = bool(key or prefix or failed or only_open)
    if chosen and watch:
        raise typer.BadParameter("--watch shows the summary of all tasks")
    if chosen:
        wanted = statuses.wanted(failed=failed, only_open=only_open)
        some = tasks.of_key(key) if key else tasks.find(wanted, prefix, begin)
        for task in some if key else sorted(some, key=lambda task: task.created_at):
            print(statuses.as_json(task) if as_json else statuses.line(task))
        return
    while True:
        started = time.monotonic()
        summary = statuses.summary(found, tasks.find(since=begin), datetime.now(UTC))
        if watch and sys.stdout.isatty():
            click.clear()
        print(summary.as_json() if as_json else "\n".join(summary.lines()), flush=True)
        if not watch:
            return
        # A large table takes long to read, and reading it costs money.
        time.sleep(max(WATCH_SECONDS, 10 * (time.monotonic() - started)))


@app.command()
def costs(
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Created since: 30m, 2h, 7d, 2026-01-31.")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option("--estimate", min=1, metavar="N", help="A month with so many images."),
    ] = None,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """What the images of the ledger cost, or what a month with more like them would.

    The price is the vendor's if WAVESPEED_API_KEY is set, else PricePerImage. What AWS takes is
    reckoned at its list prices from the requests that an image makes, which docs/costs.md has.

    \b
    cutout costs
    cutout costs --since 30d --stack cutout
    cutout costs --estimate 100000
    """
    from cutout_cli.costs import bill
    from cutout_cli.stacks import find_stack
    from cutout_cli.status import time_of
    from cutout_cli.tasks import Tasks

    begin = time_of(since, datetime.now(UTC)) if since else None
    found = find_stack(stack, region, profile, aws_port)
    told = bill(found, Tasks(found).find(since=begin), images)
    print(told.as_json() if as_json else "\n".join(told.lines()))


@app.command()
def explain(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[KEY|TASK_ID]", help="The key of an upload, or a task's id."),
    ] = None,
    prediction: Annotated[
        str | None, typer.Option(metavar="ID", help="The vendor's id; reads the whole table.")
    ] = None,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
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
    from cutout_cli.stacks import find_stack
    from cutout_cli.tasks import Tasks

    if bool(name) == bool(prediction):
        raise typer.BadParameter("name a KEY, a TASK_ID or --prediction")
    found = find_stack(stack, region, profile, aws_port)
    for task in Tasks(found).named(name or "", prediction):
        told = story(found, task)
        print(told.as_json() if as_json else "\n".join(told.lines()))


@app.command()
def logs(
    name: Annotated[
        str, typer.Argument(metavar="KEY|TASK_ID", help="The key of an upload, or a task's id.")
    ],
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """The log lines of all functions about an upload's newest task, in order of time.

    \b
    cutout logs album/cat.jpg
    cutout logs album/cat.jpg --stack cutout --json
    """
    from cutout_cli.logs import FunctionLogs
    from cutout_cli.stacks import find_stack
    from cutout_cli.tasks import Tasks

    found = find_stack(stack, region, profile, aws_port)
    (task,) = Tasks(found).named(name)
    for line in FunctionLogs(found).about(task):
        print(line.as_json() if as_json else line.text_line())


@app.command()
def erase(
    name: Annotated[
        str, typer.Argument(metavar="KEY|TASK_ID", help="The key of an upload, or a task's id.")
    ],
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Delete the results of an upload's newest task at the vendor, who keeps them for seven days.

    Those of earlier attempts go, too. The PNG stays in the output bucket. Needs WAVESPEED_API_KEY.

    \b
    cutout erase album/cat.jpg
    cutout erase 5b3f0c9a7e1d4f28b6a09c3d2e1f4a5b --stack cutout
    """
    from cutout_cli.erase import erase as erase_results
    from cutout_cli.stacks import find_stack
    from cutout_cli.tasks import Tasks

    found = find_stack(stack, region, profile, aws_port)
    (task,) = Tasks(found).named(name)
    deleted = erase_results(found, task)
    names = {"key": task.key, "task_id": task.task_id}
    line = {**names, "predictions": task.predictions, "deleted": deleted}
    text = f"deleted {deleted} of {plural(len(task.predictions), 'result')} at the vendor"
    rest = "" if deleted == len(task.predictions) else "; the vendor had no more"
    print(json.dumps(line) if as_json else f"{shown(task.key)}: {text}{rest}")


@app.command()
def put(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.")],
    prefix: Annotated[str, typer.Option(help="What comes before each key.")] = "",
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="User metadata, such as cutout-sync=true."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow them to their PNGs.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Save the PNGs in this folder; waits for them.")
    ] = None,
    force: options.Force = False,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Upload photos, several at a time, but not what is there with the same content already.

    \b
    cutout put album/ --prefix summer/
    cutout put photo.jpg --metadata cutout-sync=true --wait
    cutout put album/ --out cut --stack cutout
    """
    from cutout_cli.deliver import DeliveryOptions
    from cutout_cli.put import pairs, put_photos
    from cutout_cli.stacks import find_stack

    found = find_stack(stack, region, profile, aws_port)
    wanted = DeliveryOptions(
        out and out.resolve(), force, timeout, as_json, metadata=pairs(metadata or [])
    )
    succeeded = put_photos(found, paths, prefix, wanted, wait=wait or out is not None)
    raise typer.Exit(0 if succeeded else FAILED)


@app.command("watch-bucket")
def watch_bucket(
    bucket: Annotated[str, typer.Argument(metavar="BUCKET", help="A bucket of yours.")],
    undo: Annotated[bool, typer.Option("--undo", help="Turn it off again.")] = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Have a bucket send its events to EventBridge, as ExistingInputBucket needs.

    Its other notifications stay as they are. --undo turns it off for every rule of the account.
    Give --stack, --region or --profile for a bucket on AWS; without, it is the local stack's.

    \b
    cutout watch-bucket my-photos --region eu-central-1
    cutout watch-bucket my-photos --stack cutout --undo
    """
    from cutout_cli.bucket import watch
    from cutout_cli.stacks import find_account

    client = find_account(stack, region, profile, aws_port)
    changed = watch(client("s3"), bucket, on=not undo)
    what = "no longer sends" if undo else "sends"
    print(f"{bucket} {what} its events to EventBridge{'' if changed else ', as before'}")


@app.command()
def uninstall(
    delete_data: Annotated[
        bool,
        typer.Option("--delete-data", help="Delete the stack's buckets and table, and their data."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what goes.")] = False,
    yes: options.Yes = False,
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Delete a stack, after saying what goes and what stays.

    \b
    cutout uninstall --stack cutout --dry-run
    cutout uninstall --stack cutout --delete-data
    """
    from cutout_cli.stacks import find_stack
    from cutout_cli.status import OPEN
    from cutout_cli.tasks import Tasks
    from cutout_cli.uninstall import Uninstaller

    found = find_stack(stack, region, profile, aws_port)
    uninstaller = Uninstaller(found)
    plan = uninstaller.plan()
    print("\n".join(plan.lines(delete_data=delete_data)))
    if unfinished := sum(1 for _ in Tasks(found).find(OPEN)):
        print(f"lost: {plural(unfinished, 'open task')}, which may have been paid")
    if dry_run:
        return
    if not yes:
        confirm(f"delete the stack {found.name}{' and its data' if delete_data else ''}?")
    uninstaller.remove(plan, delete_data=delete_data, tell=print)

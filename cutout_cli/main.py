"""The `cutout` command."""

from importlib.metadata import version
from typing import Annotated

import typer

from cutout_cli.commands.api import api
from cutout_cli.commands.backfill import backfill
from cutout_cli.commands.costs import costs
from cutout_cli.commands.deploy import deploy
from cutout_cli.commands.doctor import doctor
from cutout_cli.commands.down import down
from cutout_cli.commands.env import env
from cutout_cli.commands.erase import erase
from cutout_cli.commands.explain import explain
from cutout_cli.commands.limit import limit
from cutout_cli.commands.logs import logs
from cutout_cli.commands.pause import pause
from cutout_cli.commands.put import put
from cutout_cli.commands.reconcile import reconcile
from cutout_cli.commands.redrive import redrive
from cutout_cli.commands.resume import resume
from cutout_cli.commands.retry import retry
from cutout_cli.commands.run import run
from cutout_cli.commands.status import status
from cutout_cli.commands.uninstall import uninstall
from cutout_cli.commands.up import up
from cutout_cli.commands.watch_bucket import watch_bucket
from cutout_cli.program import Program

# In the order of `--help`: a first try, where uploads are, what to do about them, the stack itself.
COMMANDS = (
    *(run, up, down, env, api),
    *(put, status, explain, logs, costs),
    *(retry, redrive, backfill, reconcile, erase, pause, resume, limit),
    *(deploy, doctor, watch_bucket, uninstall),
)

app = typer.Typer(
    cls=Program,
    help="Cutout: images in, PNGs with the background removed out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def cutout(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if show_version:
        print(f"cutout {version('cutout')}")
        raise typer.Exit


for command in COMMANDS:
    app.command()(command)

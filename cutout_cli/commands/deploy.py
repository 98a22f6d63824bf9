"""`cutout deploy`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cutout_cli import options
from cutout_cli.commands.doctor import is_well
from cutout_cli.errors import FAILED, DeploymentFailed, NotConfirmed
from cutout_cli.terminal import tell


def deploy(
    stack: Annotated[str, typer.Option(help="The name of the stack, new or not.")] = "cutout",
    region: options.Region = None,
    profile: options.Profile = None,
    parameter: options.Parameters = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A tag for all resources; several may be given."),
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="What `sam build` made; that of `make build` if left out.")
    ] = None,
) -> None:
    """Ask what matters, deploy to AWS, wait until uploads are seen, and look whether all is well.

    Of a stack that is there, everything stays that you do not change. The key is kept as a secret:
    it comes into no command line and no history. Other parameters are given with -p.

    \b
    cutout deploy
    cutout deploy --stack photos --region eu-central-1 -p Webhook=on --tag team=web
    """
    from cutout_cli import deploy as deploying
    from cutout_cli import parameters
    from cutout_cli.stacks import find_stack

    given, tags = parameters.checked(parameter or []), deploying.tags_of(tag or [])
    if not sys.stdin.isatty():
        raise NotConfirmed("there is nobody to ask; use sam deploy")
    built = template or deploying.TEMPLATE
    if not built.exists():
        raise DeploymentFailed(f"{built} is not there: make deploy makes it, and deploys")
    found = find_stack(stack, region, profile)
    who = found.client("sts").get_caller_identity()
    where = f"account {who['Account']} in {found.client('sts').meta.region_name}"
    tell(f"the stack {stack} in {where}; Enter keeps what is in brackets")
    one = deploying.Deployment(found, built, tell)
    if bucket := given.get("ExistingInputBucket"):
        one.check_bucket(bucket)
    answers = one.ask(given)
    one.store_key(parameters.defaults() | (one.present() or {}) | answers)
    deploying.watch_existing(found, answers.get("ExistingInputBucket", ""), tell)
    reached = {"--region": region, "--profile": profile}
    one.deploy(answers, tags, [w for o, v in reached.items() if v for w in (o, v)])
    deployed = find_stack(stack, region, profile)
    deploying.wait_until_seen(deployed, tell)
    raise typer.Exit(0 if is_well(deployed) else FAILED)

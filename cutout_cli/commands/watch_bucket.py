"""`cutout watch-bucket`."""

import json
from typing import Annotated

import typer

from cutout_cli import options


def watch_bucket(
    bucket: Annotated[str, typer.Argument(metavar="BUCKET", help="A bucket of yours.")],
    undo: Annotated[bool, typer.Option("--undo", help="Turn it off again.")] = False,
    as_json: options.Json = False,
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
    line = {"bucket": bucket, "sends": not undo, "changed": changed}
    what = "no longer sends" if undo else "sends"
    text = f"{bucket} {what} its events to EventBridge{'' if changed else ', as before'}"
    print(json.dumps(line) if as_json else text)

"""The `cutout` command."""

# Imports of the stack stand inside the commands: `--help` and the remover's worker processes,
# which import this module anew, must not wait for them.

import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from cutout_cli import installation, operations, options
from cutout_cli.errors import FAILED
from cutout_cli.program import Program

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


@app.command()
def run(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Files and folders; a sample if left out.")
    ] = None,
    out: options.Out = Path("out"),
    force: options.Force = False,
    sheet: Annotated[
        Path | None, typer.Option(help="Save photos and PNGs side by side, as out/sheet.jpg.")
    ] = None,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
    parameter: options.Parameters = None,
) -> None:
    """Start the whole stack, send photos through it, save their PNGs, stop it again.

    One line per photo goes to standard output, all else to standard error.

    \b
    cutout run
    cutout run photo.jpg album/ --out cut --sheet cut/sheet.jpg
    cutout run album/ -p ImagesPerMinute=60 --json
    """
    from cutout_cli import parameters
    from cutout_cli.deliver import DeliveryOptions
    from cutout_cli.run import run_photos

    checked = parameters.checked(parameter or [])
    wanted = DeliveryOptions(out.resolve(), force, timeout, as_json, sheet)
    with tempfile.TemporaryDirectory() as scratch:
        chosen = photos or [sample(Path(scratch))]
        succeeded = run_photos(chosen, checked, wanted)
    raise typer.Exit(0 if succeeded else FAILED)


@app.command()
def up(
    aws_port: options.AwsPort = 5566,
    wavespeed_port: options.WaveSpeedPort = 5567,
    parameter: options.Parameters = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps everything for next time, tasks that run too."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the servers' logs too.")] = False,
) -> None:
    """Keep the local stack running until Ctrl-C or `cutout down`; tell what becomes of uploads.

    \b
    cutout up
    cutout up --data kept -p Webhook=on
    """
    from cutout_cli import parameters, state_file
    from cutout_cli.environment import exports
    from cutout_cli.stacks import local
    from cutout_cli.tell_tasks import tell_tasks
    from cutout_local.stack import local_stack

    checked = parameters.checked(parameter or [])
    level = logging.INFO if verbose else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s %(name)s %(message)s")
    with (
        taken_ports_explained(),
        state_file.publisher() as publish,
        local_stack(
            aws_port=aws_port,
            wavespeed_port=wavespeed_port,
            parameters=checked,
            data=data and data.resolve(),
        ) as stack,
    ):
        stack.wavespeed.wait_for_remover()
        publish(stack.aws.port, stack.environment)
        print("\n".join(exports(stack.environment)))
        print(f"# the log of AWS: {stack.aws.log}")
        print('# the stack is up; in another terminal: eval "$(.venv/bin/cutout env)"')
        print("# Ctrl-C ends it", flush=True)
        tell_tasks(local(stack.environment))


@app.command()
def down(aws_port: options.WhichPort = None) -> None:
    """End the local stack that `cutout up` keeps running."""
    from cutout_cli import state_file

    stack = state_file.stop(aws_port)
    print(f"the stack on port {stack.port} has ended")


@app.command()
def env(
    unset: Annotated[bool, typer.Option("--unset", help="Print what takes them back.")] = False,
    dotenv: Annotated[
        bool, typer.Option("--dotenv", help="Print the lines of a .env file.")
    ] = False,
    aws_port: options.WhichPort = None,
) -> None:
    """Print the running stack's endpoints and resources, for a shell to evaluate.

    Variables of your own that would lead the AWS CLI or an SDK elsewhere are unset.

    \b
    eval "$(cutout env)"
    eval "$(cutout env --unset)"
    cutout env --dotenv > .env
    """
    from cutout_cli import environment, state_file

    told = state_file.running_stack(aws_port).environment
    if dotenv:
        lines = environment.dotenv(told)
    else:
        lines = environment.unsets(told) if unset else environment.exports(told)
    print("\n".join(lines))


@app.command()
def api(
    port: Annotated[
        int,
        typer.Option(envvar="CUTOUT_WAVESPEED_PORT", help="Port to listen on.", **options.PORTS),
    ] = 5567,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="WAVESPEED_API_KEY", help="The key that clients must send; else a new one."
        ),
    ] = None,
    fetch_link_local: Annotated[
        bool,
        typer.Option("--fetch-link-local", help="Fetch from link-local and metadata addresses."),
    ] = False,
) -> None:
    """Run only the WaveSpeed-compatible server until Ctrl-C."""
    from cutout_local.wavespeed.server import Server
    from cutout_local.wavespeed.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    key = {"api_key": api_key} if api_key else {}
    settings = Settings(**key, fetch_link_local=fetch_link_local)
    with Server(settings, port=port) as server:
        server.wait_for_remover()
        print(f"listening on {server.base_url}, described at {server.base_url}/docs")
        print(f"export WAVESPEED_API_KEY={settings.api_key}", flush=True)
        threading.Event().wait()


@contextmanager
def taken_ports_explained() -> Iterator[None]:
    """Say how to choose another port."""
    from cutout_cli.errors import PortInUse
    from cutout_local.aws.errors import PortTaken
    from cutout_local.wavespeed.errors import CannotListen

    try:
        yield
    except PortTaken as error:
        raise PortInUse(f"{error}; choose another with --aws-port or CUTOUT_AWS_PORT") from None
    except CannotListen as error:
        raise PortInUse(f"{error}: --wavespeed-port or CUTOUT_WAVESPEED_PORT") from None


def sample(folder: Path) -> Path:
    """The photo for those who have none at hand: `skimage.data.coffee()`, CC0."""
    from PIL import Image
    from skimage import data

    photo = folder / "coffee.jpg"
    pixels = data.coffee()  # type: ignore[no-untyped-call]
    Image.fromarray(pixels).save(photo, quality=95)
    return photo


app.add_typer(operations.app)
app.add_typer(installation.app)

if __name__ == "__main__":
    app()

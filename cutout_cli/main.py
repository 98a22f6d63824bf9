"""The `cutout` command."""

# Imports of the stack stand inside the commands: `--help` and the remover's worker processes,
# which import this module anew, must not wait for them.

import logging
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Cutout on this machine: pictures in, PNGs with the background removed out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AwsPort = Annotated[int, typer.Option(envvar="CUTOUT_AWS_PORT", help="Port of the AWS services.")]
WaveSpeedPort = Annotated[
    int, typer.Option(envvar="CUTOUT_WAVESPEED_PORT", help="Port of the WaveSpeed server.")
]
StackName = Annotated[
    str | None,
    typer.Option("--stack", help="A stack on AWS; the local one that is up if left out."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter", "-p", help="NAME=VALUE of a template parameter, such as Webhook=on."
    ),
]
Remover = Annotated[
    str, typer.Option(envvar="CUTOUT_REMOVER", help="Who removes backgrounds: classical or rembg.")
]


@app.command()
def run(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Files and folders; a sample if left out.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the PNGs go.")] = Path("out"),
    remover: Remover = "classical",
    parameter: Parameters = None,
) -> None:
    """Start the whole stack, send photos through it, save their cut-outs, stop it again."""
    from cutout_cli.run import run_photos

    with plain_errors(), tempfile.TemporaryDirectory() as scratch:
        chosen = photos or [sample(Path(scratch))]
        succeeded = run_photos(chosen, out.resolve(), remover, named(parameter))
    raise typer.Exit(0 if succeeded else 1)


@app.command()
def up(
    aws_port: AwsPort = 5566,
    wavespeed_port: WaveSpeedPort = 5567,
    remover: Remover = "classical",
    parameter: Parameters = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps buckets, tables and queues for next time."),
    ] = None,
) -> None:
    """Keep the local stack running until Ctrl-C."""
    from cutout_cli.running import told_to_others
    from cutout_local.stack import local_stack

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    with (
        plain_errors(),
        local_stack(
            remover=remover,
            aws_port=aws_port,
            wavespeed_port=wavespeed_port,
            parameters=named(parameter),
            data=data and data.resolve(),
        ) as stack,
    ):
        stack.wavespeed.wait_for_remover()
        with told_to_others(stack.environment):
            print_exports(stack.environment)
            print(f"# the log of AWS: {stack.aws.log}")
            print('# the stack is up; in another terminal: eval "$(.venv/bin/cutout env)"')
            print("# Ctrl-C ends it", flush=True)
            threading.Event().wait()


@app.command()
def env() -> None:
    """Print the running stack's endpoints and resources as shell exports."""
    from cutout_cli.running import environment

    with plain_errors():
        print_exports(environment())


@app.command()
def retry(
    key: Annotated[str, typer.Argument(help="The key of the upload in the input bucket.")],
    pay_again: Annotated[
        bool, typer.Option(help="Send it anew even if the vendor accepted it, or may have.")
    ] = False,
    stack: StackName = None,
) -> None:
    """Take up the newest task of an object again, paying only if the vendor has no result of it."""
    from cutout_cli.operate import Operator, find_stack

    with plain_errors():
        print(Operator(find_stack(stack)).retry(key, pay_again=pay_again))


@app.command()
def redrive(stack: StackName = None) -> None:
    """Put the messages of the dead-letter queue back into the upload queue."""
    from cutout_cli.operate import Operator, find_stack

    with plain_errors():
        print(f"{Operator(find_stack(stack)).redrive()} messages are back in the upload queue")


@app.command()
def api(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5567,
    api_key: Annotated[
        str, typer.Option(envvar="WAVESPEED_API_KEY", help="The key that clients must send.")
    ] = "local-api-key",
    remover: Remover = "classical",
) -> None:
    """Run only the WaveSpeed-compatible server until Ctrl-C."""
    from cutout_local.wavespeed import Server, Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    with plain_errors(), Server(Settings(api_key=api_key), port=port, remover=remover) as server:
        server.wait_for_remover()
        print(f"listening on {server.base_url}, described at {server.base_url}/docs", flush=True)
        threading.Event().wait()


def sample(folder: Path) -> Path:
    """The photo for those who have none at hand: `skimage.data.coffee()`, CC0."""
    from PIL import Image
    from skimage import data

    photo = folder / "coffee.jpg"
    pixels = data.coffee()  # type: ignore[no-untyped-call]
    Image.fromarray(pixels).save(photo, quality=95)
    return photo


def named(parameters: list[str] | None) -> dict[str, str]:
    """`NAME=VALUE` arguments as a mapping."""
    pairs = [parameter.partition("=") for parameter in parameters or []]
    for name, equals, _ in pairs:
        if not equals:
            raise typer.BadParameter(f"{name!r} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


def print_exports(environment: dict[str, str]) -> None:
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Say what is wrong in one line, and end on a signal as a shell expects."""
    from cutout.domain.errors import CutoutError
    from cutout_cli.photos import PhotoNotFound
    from cutout_cli.running import NoStackRunning
    from cutout_local.aws import LocalAwsError
    from cutout_local.wavespeed import ServerError

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except (PhotoNotFound, NoStackRunning, LocalAwsError, ServerError, CutoutError) as error:
        print(f"cutout: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    app()

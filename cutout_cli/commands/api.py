"""`cutout api`."""

import logging
import threading
from typing import Annotated

import typer

from cutout_cli import options


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
    """Run only the WaveSpeed-compatible server until Ctrl-C.

    \b
    cutout api
    cutout api --port 6567 --api-key some-key
    """
    from cutout_local.wavespeed.server import Server
    from cutout_local.wavespeed.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    key = {"api_key": api_key} if api_key else {}
    settings = Settings(**key, fetch_link_local=fetch_link_local)
    with options.taken_ports_explained("--port"), Server(settings, port=port) as server:
        server.wait_for_remover()
        print(f"listening on {server.base_url}, described at {server.base_url}/docs")
        print(f"export WAVESPEED_API_KEY={settings.api_key}", flush=True)
        threading.Event().wait()

"""The process of the local AWS: MiniStack, patched, behind TLS, with faults on request.

`stack.LocalAws` starts it with MiniStack's settings in the environment, a listening socket as
its argument, and a pipe as its standard input. It ends on SIGTERM, and when the pipe closes, so
that it cannot outlive whoever started it.
"""

import asyncio
import asyncio.constants
import os
import signal
import sys
import threading

from cutout_local.aws import startup

# isort: split
from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app
from ministack.core import lambda_runtime

from cutout_local.aws import functions, metrics, patches, restarts
from cutout_local.aws.gate import Gate
from cutout_local.aws.injection import FaultInjection
from cutout_local.loopback import LoopbackOnly


async def _serve(listener: int) -> None:
    config = Config()
    config.bind = [f"fd://{listener}"]
    config.certfile = os.environ["MINISTACK_SSL_CERT"]
    config.keyfile = os.environ["MINISTACK_SSL_KEY"]
    config.alpn_protocols = ["http/1.1"]
    config.graceful_timeout = 0.1
    config.keep_alive_timeout = 3600  # an idle connection that is closed over TLS logs an error
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stop.set)
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    async def ended() -> None:
        await stop.wait()
        # Invocations that run end with their functions; MiniStack would wait for them.
        await asyncio.to_thread(lambda_runtime.reset)

    private = LoopbackOnly(Gate(FaultInjection(app)))
    await serve(private, config, shutdown_trigger=ended)  # type: ignore[arg-type]


def main() -> None:
    patches.apply(without=os.environ.get("CUTOUT_WITHOUT_PATCH"))
    restarts.outlast()
    startup.keep_transforms()
    functions.lay_out_runtime()
    asyncio.constants.SSL_SHUTDOWN_TIMEOUT = 0.1  # 30 s for clients that may be gone
    threading.Thread(target=metrics.watch, daemon=True).start()
    asyncio.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Executions wait in threads that nothing can interrupt; a function may just be starting.
        os.killpg(0, signal.SIGKILL)

"""Where the `cutout` command begins."""

import signal


def main() -> None:
    """Run the command. A Ctrl-C while it is being imported ends it without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cutout_cli.main import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    app()

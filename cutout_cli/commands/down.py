"""`cutout down`."""

from cutout_cli import options


def down(aws_port: options.WhichPort = None) -> None:
    """End the local stack that `cutout up` keeps running.

    \b
    cutout down
    cutout down --aws-port 6566
    """
    from cutout_cli import state_file

    stack = state_file.stop(aws_port)
    print(f"the stack on port {stack.port} has ended")

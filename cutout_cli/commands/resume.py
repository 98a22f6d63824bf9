"""`cutout resume`."""

from cutout_cli import options


@options.of_stack
def resume(find_stack: options.FindStack) -> None:
    """Send images again after `pause`; within a minute the oldest are taken up.

    \b
    cutout resume --stack cutout
    """
    from cutout_cli.limits import governor, told

    found = governor(find_stack())
    found.resume()
    print(told(found.plan()))

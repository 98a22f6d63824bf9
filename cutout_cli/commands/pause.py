"""`cutout pause`."""

from cutout_cli import options


@options.of_stack
def pause(find_stack: options.FindStack) -> None:
    """Send no more images to the vendor until `resume`; those that are there go on.

    \b
    cutout pause --stack cutout
    """
    from cutout_cli.limits import governor, told

    found = governor(find_stack())
    found.pause()
    print(told(found.plan()))

"""`cutout pause`."""

from cutout_cli import options


@options.of_stack
def pause(find_stack: options.FindStack, as_json: options.Json = False) -> None:
    """Send no more images to the vendor until `resume`; those that are there go on.

    \b
    cutout pause --stack cutout
    """
    from cutout_cli import limits

    governor = limits.governor(find_stack())
    governor.pause()
    print(limits.told(governor.plan(), as_json=as_json))

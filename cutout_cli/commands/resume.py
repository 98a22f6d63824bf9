"""`cutout resume`."""

from cutout_cli import options


@options.of_stack
def resume(find_stack: options.FindStack, as_json: options.Json = False) -> None:
    """Send images again after `pause`; within a minute the oldest are taken up.

    \b
    cutout resume --stack cutout
    """
    from cutout_cli import limits

    governor = limits.governor(find_stack())
    governor.resume()
    print(limits.told(governor.plan(), as_json=as_json))

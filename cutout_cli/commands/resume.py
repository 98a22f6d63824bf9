"""`cutout resume`."""

from cutout_cli import options


def resume(
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Send images again after `pause`; within a minute the oldest are taken up.

    \b
    cutout resume --stack cutout
    """
    from cutout_cli.limits import governor, told
    from cutout_cli.stacks import find_stack

    found = governor(find_stack(stack, region, profile, aws_port))
    found.resume()
    print(told(found.plan()))

"""`cutout pause`."""

from cutout_cli import options


def pause(
    stack: options.StackName = None,
    region: options.Region = None,
    profile: options.Profile = None,
    aws_port: options.WhichPort = None,
) -> None:
    """Send no more images to the vendor until `resume`; those that are there go on.

    \b
    cutout pause --stack cutout
    """
    from cutout_cli.limits import governor, told
    from cutout_cli.stacks import find_stack

    found = governor(find_stack(stack, region, profile, aws_port))
    found.pause()
    print(told(found.plan()))

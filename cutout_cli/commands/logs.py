"""`cutout logs`."""

from cutout_cli import options


@options.of_stack
def logs(
    find_stack: options.FindStack,
    name: options.KeyOrTask,
    as_json: options.Json = False,
) -> None:
    """The log lines of all functions about an upload's newest task, in order of time.

    \b
    cutout logs album/cat.jpg
    cutout logs album/cat.jpg --stack cutout --json
    """
    from cutout_cli.logs import FunctionLogs
    from cutout_cli.tasks import Tasks

    found = find_stack()
    (task,) = Tasks(found).named(name)
    for line in FunctionLogs(found).about(task):
        print(line.as_json() if as_json else line.text_line())

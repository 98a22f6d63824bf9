"""docs/commands.md, made of what each command says of itself.

    python -m tests.support.command_reference

writes it; a test compares.
"""

from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from cutout_cli.main import app

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
TITLE = """# Every command, with its options

Written by `make commands` from `cutout COMMAND --help`; [cli.md](cli.md) has exit codes, the
fields of `--json`, and what an operator must be allowed.
"""


def names() -> list[str]:
    """The commands, in the order of `cutout --help`."""
    return list(get_command(app).commands)  # type: ignore[attr-defined]


def told(name: str) -> str:
    """What a command says of itself, in a terminal of any width."""
    return (
        CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80"}, prog_name="cutout").stdout
    )


def page() -> str:
    parts = [f"## cutout {name}\n\n```text\n{told(name).strip()}\n```\n" for name in names()]
    return "\n".join([TITLE, *parts])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

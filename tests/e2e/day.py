"""A day of operating: what goes wrong, what is asked, and what is done about it, by the command.

    python -m tests.e2e.day

writes docs/day.md with 200 photos; a test does the same with fewer and compares.
"""

import io
import json
import os
import re
import shlex
import tempfile
from collections import Counter
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from typer.testing import CliRunner, Result

from cutout.domain.tasks import Task
from cutout_cli import state_file
from cutout_cli.main import app
from tests.e2e.conftest import photo, running
from tests.support.stack_client import StackClient
from tests.support.waiting import wait_for

PAGE = Path(__file__).parents[2] / "docs" / "day.md"
PHOTOS = 200
PRICE = 0.01
LIKE = 2  # lines of an output that are alike and shown
NOBODY = "http://127.0.0.1:9"  # no server has the discard port
STACK: dict[str, Any] = {"wait_scale": 0.1, "schedule_scale": 0.05, "EraseAtVendor": "true"}
"""Waits and the clock are shortened, for a day."""
TITLE = """# A day of operating

Written by `make day`: 200 photos go through the local stack, ten of them bad, and troubles come.
The tests do the same with fewer, and compare the commands and their answers with this page. The
stack has `EraseAtVendor=true`. Most of the lines that are alike are left out.
"""
_IDS = re.compile(r"\b[0-9a-f]{32}\b|(?<=version )\S+")
_NUMBERS = re.compile(r"\d[\d.,:]*(-\d+)*")
_PLURALS = re.compile(r"(?<=# )(\w+?)(ies|s)\b")
_COMMANDS = re.compile(r"```console\n\$ (.*?)\n(.*?)```", re.DOTALL)


@dataclass
class As:
    """The command, used by somebody."""

    environment: dict[str, str]

    def __call__(self, *arguments: str | Path, code: int = 0) -> Result:
        with state_file.publisher() as publish:
            publish(1, self.environment)
            done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
        return done


def lines(result: Result) -> list[dict[str, Any]]:
    """What a command answers with `--json`."""
    return [json.loads(line) for line in result.stdout.splitlines()]


class Bad(NamedTuple):
    """Photos that go wrong: how many of 200, what is in them, what the vendor does to them."""

    name: str
    of_200: int
    body: bytes
    fault: str = ""

    def of(self, photos: int) -> int:
        return max(1, self.of_200 * photos // 200)


def bad_photos() -> list[Bad]:
    whole, poster = photo(60, 40), io.BytesIO()
    Image.new("1", (2000, 1500)).save(poster, "PNG")
    return [
        Bad("invoice", 3, b"%PDF-1.7\n"),
        Bad("broken", 2, whole[:20]),
        Bad("poster", 2, poster.getvalue()),
        Bad("blurred", 2, whole, "task-fails"),
        Bad("wall", 1, whole, "output-empty"),
    ]


@dataclass
class Day:
    """The day of a stack, with so many photos in a folder where the operator works.

    `page` is what is told of it. With `ended`, what the ledger should say in the evening.
    """

    stack: StackClient
    cutout: As
    folder: Path
    photos: int
    page: list[str] = field(default_factory=lambda: [TITLE])
    ended: Counter[str] = field(default_factory=Counter)

    def live(self) -> str:
        """Everything; what is told of it."""
        self._drop()
        self._raise_the_budget()
        self._outlast_the_vendor()
        self._try_again()
        self._close_the_books()
        return "\n".join(self.page)

    # ------------------------------------------------------------ the parts of the day

    def _drop(self) -> None:
        self._say("## A folder of photos, and too small a budget")
        sent = self._write_photos()
        self._do("limit", "--daily-budget", f"{sent * PRICE * 3 / 4:.2f}")
        self._do("put", "photos", "--prefix", "day/")
        self._rest(self.photos, "over_budget")
        self._do("status")
        self._say("For each that waits, the ledger says why, and the command what to do.")
        waiting = lines(self.cutout("status", "--open", "--json"))
        assert {told["code"] for told in waiting} == {"over_budget"}
        self._do("explain", min(told["key"] for told in waiting))

    def _raise_the_budget(self) -> None:
        self._say("## More of it", "The clock sends what waited, within a minute.")
        self._do("limit", "--daily-budget", f"{self.photos * PRICE * 2:.2f}")
        self._rest(self.photos)
        self._do("status")
        self._say("Nothing waits any more. What was rejected has cost nothing:")
        self._do("explain", "day/invoice-001.jpg")

    def _outlast_the_vendor(self) -> None:
        self._say(
            "## The vendor is away for a while",
            "First its gateway answers 502 to a submit, which may have been accepted all the "
            "same.\nThe task is `uncertain`, and nothing is sent twice unasked.",
        )
        self._write("evening", "first.jpg", photo(60, 40))
        self.stack.ask_for_fault("submit-bad-gateway", "evening/first.jpg", times=1)
        self._do("put", "evening", "--prefix", "evening/")
        self._rest(self.photos + 1)
        self._do("explain", "evening/first.jpg")
        self._say("Then nobody answers at all. Nothing is sent, and uploads wait.")
        for number in range(3):
            self._write("evening", f"photo-{number}.jpg", photo(60, 40))
        self._vendor_is_at(NOBODY)
        self._do("put", "evening", "--prefix", "evening/")
        self._rest(self.photos + 4, "vendor_unreachable")
        self._do("status", "--open")
        self._vendor_is_at(self.stack.env["WAVESPEED_BASE_URL"])
        self._say("It is back. They would be sent within a minute or two; who cannot wait, asks.")
        self._do("retry", "--status", "queued", "--code", "vendor_unreachable", "--yes")
        self._say("The vendor's list of predictions has none of the time of the first one.")
        self._do("retry", "evening/first.jpg", "--pay-again")
        self._rest(self.photos + 4)
        self.ended["completed"] += 4

    def _try_again(self) -> None:
        self._say("## What failed is tried again", "First it says what is paid.")
        self._do("status", "--failed")
        self._do("retry", "--failed", "--code", "prediction_failed", "--dry-run")
        self._do("retry", "--failed", "--code", "prediction_failed", "--yes")
        self._say("For an image without a subject, the vendor would only give the same result:")
        self._do("explain", "day/wall-001.jpg")
        self._say("Or is there a paid result that nobody has fetched?")
        self._do("reconcile")
        self._say("Only that one, which is no use. Another try may do better:")
        self._do("retry", "day/wall-001.jpg", "--pay-again")
        wait_for(lambda: self._counts() == self.ended, seconds=600)

    def _close_the_books(self) -> None:
        self._say("## In the evening")
        self._do("status")
        self._do("costs")
        self._say("What the vendor had is deleted already:")
        self._do("erase", "day/photo-001.jpg")
        self.cutout("limit", "--daily-budget", "0")

    # ------------------------------------------------------------ how it is done

    def _write_photos(self) -> int:
        """Write them, and have the vendor fail with some; how many the vendor gets."""
        bad, faults = bad_photos(), []
        for kind in bad:
            for number in range(1, kind.of(self.photos) + 1):
                suffix = "png" if kind.name == "poster" else "jpg"
                name = f"{kind.name}-{number:03}.{suffix}"
                self._write("photos", name, kind.body)
                if kind.fault:
                    faults.append({"fault": kind.fault, "match": f"day/{name}", "times": 1})
        self.stack.set_vendor_faults(faults)
        rejected = sum(kind.of(self.photos) for kind in bad if not kind.fault)
        good = self.photos - sum(kind.of(self.photos) for kind in bad)
        for number in range(1, good + 1):
            self._write("photos", f"photo-{number:03}.jpg", photo(60, 40))
        self.ended.update(completed=self.photos - rejected, rejected=rejected)
        return self.photos - rejected

    def _write(self, folder: str, name: str, body: bytes) -> None:
        (self.folder / folder).mkdir(exist_ok=True)
        (self.folder / folder / name).write_bytes(body)

    def _vendor_is_at(self, url: str) -> None:
        self.stack.change_environment("SubmitFunction", {"WAVESPEED_BASE_URL": url})

    def _rest(self, tasks: int, code: str | None = None) -> None:
        """Wait until there are so many tasks, and none is open but for this code."""

        def rests(task: Task) -> bool:
            return not task.status.open or (code is not None and task.code == code)

        def all_rest() -> bool:
            found = self.stack.tasks().values()
            return len(found) == tasks and all(map(rests, found))

        wait_for(all_rest, seconds=600)

    def _counts(self) -> Counter[str]:
        return Counter(task.status.value for task in self.stack.tasks().values())

    def _say(self, *paragraphs: str) -> None:
        self.page += [f"{paragraph}\n" for paragraph in paragraphs]

    def _do(self, *arguments: str, code: int = 0) -> None:
        answer = self.cutout(*arguments, code=code).output
        command = shlex.join(["cutout", *arguments])
        self.page.append(f"```console\n$ {command}\n{shortened(answer)}```\n")


def shortened(answer: str) -> str:
    """An answer with a few of the lines that are alike."""
    alike = Counter[str]()
    shown = []
    for line in answer.splitlines():
        alike[shape(line)] += 1
        if alike[shape(line)] <= LIKE:
            shown.append(line.rstrip())
    left = len(answer.splitlines()) - len(shown)
    return "\n".join([*shown, *([f"... and {left} more"] if left else []), ""])


def shape(line: str) -> str:
    """A line without ids, numbers, plurals, and the order of its words.

    Which uploads a budget is spent on is chance, and so is whether one of them has failed yet.
    """
    if line.startswith("tasks "):
        return "tasks"
    text = _PLURALS.sub(r"\1", _NUMBERS.sub("#", _IDS.sub("#", line)))
    return " ".join(sorted(text.replace(",", " ").split()))


def shapes(page: str) -> list[tuple[str, set[str]]]:
    """The commands of a page and what their answers look like."""
    return [
        (shape(command), {shape(line) for line in answer.splitlines() if line[:4] != "... "})
        for command, answer in _COMMANDS.findall(page)
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ["CUTOUT_STATE"] = str(Path(folder) / "state")
        with running(**STACK) as stack:
            PAGE.write_text(Day(stack, As(stack.env), Path(folder), PHOTOS).live())


if __name__ == "__main__":
    main()

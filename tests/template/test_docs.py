"""The pages for operators name every alarm, code and parameter that there is."""

import re
from collections.abc import Iterator

from cutout.domain.errors import CutoutError, Failed, MetadataRefused, NotNow, Rejected
from tests.support.template import ROOT, template

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ONLY_CAUGHT = {Failed, MetadataRefused, NotNow, Rejected}
AWS_NAMES = {"PutEvents", "StartExecution", "TasksWaiting"}
TEMPLATE = template()


def kinds_of(error: type[CutoutError]) -> Iterator[type[CutoutError]]:
    for kind in error.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_every_alarm_has_its_paragraph_and_every_paragraph_its_alarm() -> None:
    alarms = {
        name
        for name, resource in TEMPLATE["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }

    paragraphs = re.findall(r"^### (\w+)\n\n(\S.{60,})", OPERATIONS, re.MULTILINE)
    assert {name for name, _ in paragraphs} == alarms


def test_every_code_is_explained() -> None:
    codes = {
        error("").code
        for error in kinds_of(CutoutError)
        if error not in ONLY_CAUGHT and error.__module__ == CutoutError.__module__
    }

    assert {code for code in codes if f"`{code}`" not in OPERATIONS} == set()


def test_the_pages_name_parameters_that_exist() -> None:
    pages = [ROOT / "docs" / f"{name}.md" for name in ("operations", "limits", "costs")]
    resources, parameters = TEMPLATE["Resources"], TEMPLATE["Parameters"]
    known = {*parameters, *resources, *TEMPLATE["Outputs"]} | AWS_NAMES

    for page in pages:
        named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)(?:=\w+)?`", page.read_text()))
        assert named <= known, page.name


def test_the_tests_that_the_pages_name_exist() -> None:
    for page in sorted((ROOT / "docs").glob("*.md")):
        for name in re.findall(r"\btests/[\w./]+\w", page.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_every_sentence_of_a_promise_names_a_test_that_shows_it() -> None:
    for page, tables in (("security", 1), ("reliability", 2)):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        found = [table for table in text.split("\n\n") if re.match(r"\|.*\| test \|\n", table)]
        assert len(found) == tables, page
        for row in "\n".join(found).splitlines():
            if not row.startswith("|---") and not row.endswith("| test |"):
                assert re.search(r"`tests/\w+/", row.rpartition(" | ")[2]), row


INVOKING = (ROOT / "events" / "README.md").read_text()
FUNCTIONS = {
    name
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}


def test_how_to_invoke_is_told_of_every_function_with_an_event_that_is_there() -> None:
    told = re.findall(r"sam local invoke (\w+) --event (\S+) --env-vars variables.json", INVOKING)
    listed = re.findall(r"^\| `(\w+)` \| `(\S+)` \|", INVOKING, re.MULTILINE)

    assert dict(told) == dict(listed)
    assert {name for name, _ in told} == FUNCTIONS
    assert [event for _, event in told if not (ROOT / event).is_file()] == []

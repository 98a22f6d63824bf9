"""What images cost: as the command says it, and as docs/costs.md does."""

import json
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx
import pytest

from cutout.domain.tasks import Status, Task
from cutout_cli.costs import POLLED, USD_A_MONTH, WITH_WEBHOOK, Load, aws, estimate
from tests.support.harness import PipelineHarness, answer
from tests.support.images import jpeg
from tests.support.template import ROOT
from tests.unit.cli.conftest import CloudFormation, Cutout, FakeStack, Fates

DOCS = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
FAILED = (Status.FAILED, "timed_out", "the vendor had no result")
REJECTED = (Status.REJECTED, "unsupported_format", "it is a PDF")
UNCERTAIN = (Status.UNCERTAIN, "answer_lost", "nobody knows")
CENT = Decimal("0.01")


def usd(text: str) -> Decimal:
    return Decimal(text.strip(" $*").replace(",", ""))


def rows(header: str) -> list[list[str]]:
    """The cells of the table of the page whose first line begins so."""
    _, found, table = DOCS.partition(f"\n{header}")
    assert found
    lines = table.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def same(said: str, reckoned: Decimal) -> bool:
    """Whether that is what is said, to the last digit that is said."""
    return usd(said) == reckoned.quantize(usd(said), ROUND_HALF_UP)


@pytest.fixture
def ledger(harness: PipelineHarness, stack: FakeStack, fates: Fates) -> None:
    """Two images that are paid, a copy, two that may be paid, and one that is not."""
    stack.asks_vendor = False

    def upload(key: str, *fate: Any) -> Task:
        if fate:
            fates.by_key[key] = fate
        return harness.task(harness.upload(jpeg(), key))

    for key in ("a.jpg", "b.jpg"):
        harness.ledger.count_poll(upload(key).task_id)
    harness.ledger.update(upload("copy.jpg"), reused_from="0" * 32)
    upload("failed.jpg", *FAILED)
    upload("uncertain.jpg", *UNCERTAIN)
    upload("rejected.jpg", *REJECTED)


def told(cutout: Cutout, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cutout("costs", "--json", *options).stdout)
    return found


def test_what_was_completed_is_paid_and_copies_are_not(cutout: Cutout, ledger: None) -> None:
    bill = told(cutout)

    assert (bill["images"], bill["paid"], bill["maybe_paid"]) == (6, 2, 2)
    assert (usd(bill["price"]), usd(bill["vendor"])) == (CENT, 2 * CENT)
    assert bill["live_price"] is False
    assert usd(bill["aws"]["Step Functions"]) == Decimal(6 * 2 + 2 * 3) * 25 / 1_000_000
    assert bill["month"] is None


def test_earlier_attempts_and_conversions_are_counted(
    cutout: Cutout, harness: PipelineHarness, ledger: None
) -> None:
    before = told(cutout)
    (task,) = harness.ledger.of_object("uploads", "failed.jpg")
    again = harness.ledger.reopen(task, harness.now, prediction_id=None)
    again = harness.ledger.move(
        again, Status.SUBMITTING, harness.now, attempt=2, converted=True, prediction_id=None
    )
    harness.ledger.move(again, Status.PROCESSING, harness.now, prediction_id="p2")

    bill = told(cutout)

    assert (before["retries"], before["conversions"]) == (0, 0)
    assert (bill["retries"], bill["conversions"]) == (1, 1)
    assert bill["maybe_paid"] == before["maybe_paid"] + 1
    assert usd(bill["aws"]["Lambda"]) > usd(before["aws"]["Lambda"])
    lines = cutout("costs").stdout.splitlines()
    assert "retries         1, at most" in lines
    assert "conversions     1" in lines


def test_the_total_is_the_sum_of_its_parts(cutout: Cutout, ledger: None) -> None:
    for options in ((), ("--estimate", "7000")):
        bill = told(cutout, *options)

        parts = [bill["vendor"], *bill["aws"].values(), bill["traffic"], bill["month"] or "0"]
        assert abs(usd(bill["total"]) - sum(map(usd, parts))) < Decimal("0.00001")
        whole = usd(bill["per_1000"]) * bill["images"] / 1000
        assert abs(usd(bill["total"]) - whole) < Decimal("0.00001")


def test_the_bill_for_people(cutout: Cutout, ledger: None) -> None:
    lines = cutout("costs").stdout.splitlines()

    assert lines[0] == "images          6, of which 2 are paid; 2 more may have been"
    assert lines[1] == "vendor          $0.0200, at $0.01 (PricePerImage)"
    assert "Step Functions  $0.0004" in lines
    assert not [line for line in lines if line.startswith("month")]


def test_only_what_was_created_since_counts(cutout: Cutout, ledger: None) -> None:
    bill = told(cutout, "--since", "2999-01-01")

    assert (bill["images"], bill["per_1000"]) == (0, None)
    assert usd(bill["total"]) == 0
    assert "together        $0.00" in cutout("costs", "--since", "2999-01-01").stdout


def test_the_vendors_word_is_taken_for_the_price(
    cutout: Cutout, harness: PipelineHarness, ledger: None, stack: FakeStack
) -> None:
    stack.asks_vendor = True
    harness.answers = [lambda _: answer(price=0.01, discounted_price=0.008)]

    bill = told(cutout)

    assert (usd(bill["price"]), bill["live_price"]) == (Decimal("0.008"), True)
    assert usd(bill["vendor"]) == Decimal("0.016")


def test_without_the_vendors_word_the_parameter_is_taken(
    cutout: Cutout, harness: PipelineHarness, ledger: None, stack: FakeStack
) -> None:
    stack.asks_vendor = True
    harness.answers = [lambda _: httpx.Response(401)]

    bill = told(cutout)

    assert (usd(bill["price"]), bill["live_price"]) == (CENT, False)


def test_an_estimate_has_images_like_those_of_the_ledger(cutout: Cutout, ledger: None) -> None:
    bill = told(cutout, "--estimate", "1000")

    assert (bill["images"], bill["paid"], bill["maybe_paid"]) == (1000, 1000, 0)
    assert usd(bill["aws"]["Step Functions"]) == Decimal(1000 * (2 + 3)) * 25 / 1_000_000
    assert usd(bill["month"]) == USD_A_MONTH


@pytest.mark.parametrize(("webhook", "transitions"), [("off", 8), ("on", 5)])
def test_an_estimate_without_a_ledger_is_that_of_the_page(
    cutout: Cutout,
    stack: FakeStack,
    cloudformation: CloudFormation,
    webhook: str,
    transitions: int,
) -> None:
    stack.asks_vendor = False
    cloudformation.parameters["Webhook"] = webhook

    bill = told(cutout, "--estimate", "1000")

    assert usd(bill["aws"]["Step Functions"]) == Decimal(1000 * transitions) * 25 / 1_000_000


# ------------------------------------------------------------------ docs/costs.md


def test_the_page_has_every_service_with_what_it_costs() -> None:
    said = {row[0]: row[3:] for row in rows("| service |")}

    polled, with_webhook = (aws(load.times(Decimal(1000))) for load in (POLLED, WITH_WEBHOOK))
    for service, usd_per_1000 in polled.items():
        assert same(said[service][0], usd_per_1000), service
        assert same(said[service][1], with_webhook[service]), service
    assert same(said["**AWS**"][0], Decimal(sum(polled.values())))
    assert same(said["**AWS**"][1], Decimal(sum(with_webhook.values())))
    assert set(said) - set(polled) == {
        "**AWS**",
        "the upload's way to the vendor",
        "**the vendor**",
    }


def test_the_page_has_what_not_every_image_needs() -> None:
    none = POLLED.times(Decimal(0))
    thousand = Decimal(1000)
    (retry, conversion, _erase) = [row[2] for row in rows("| | used | per 1,000 |")]

    assert same(retry, Decimal(sum(aws(none._replace(retries=thousand)).values())))
    assert same(conversion, Decimal(sum(aws(none._replace(conversions=thousand)).values())))


def test_the_pages_formula_is_the_commands() -> None:
    (formula,) = re.findall(
        r"^    total = images \* \(price \+ (\S+) \+ (\S+) \* polls\)", DOCS, re.MULTILINE
    )

    zero, one = Decimal(0), Decimal(1)
    once, a_poll = aws(Load(one, zero, zero, zero)), aws(Load(zero, one, zero, zero))
    assert same(formula[0], Decimal(sum(once.values())))
    assert same(formula[1], Decimal(sum(a_poll.values())))


@pytest.mark.parametrize("row", rows("| images a month |"), ids=lambda row: row[0])
def test_the_pages_months_are_those_that_the_command_estimates(row: list[str]) -> None:
    bill = estimate(int(usd(row[0])), POLLED, CENT, live_price=False)

    fixed = bill.month or Decimal(0)
    said = [bill.vendor, Decimal(sum(bill.aws.values())), bill.traffic, fixed, bill.total]
    assert all(same(*pair) for pair in zip(row[1:], said, strict=True)), said


def test_what_a_stack_costs_without_images_is_the_sum_of_its_parts() -> None:
    section = DOCS.partition("## A month, whatever is done\n")[2].partition("\n## ")[0]
    *parts, together = re.findall(r"^\|.* \$([\d.]+)\*{0,2} \|$", section, re.MULTILINE)

    assert len(parts) == 5
    assert round(sum(map(usd, parts))) == USD_A_MONTH == usd(together)

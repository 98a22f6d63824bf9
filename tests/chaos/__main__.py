"""Break everything at once and see that nothing is lost: python -m tests.chaos."""

import argparse
import json
import logging
import sys
import time

from cutout.domain.tasks import Task
from tests.chaos import report
from tests.chaos.audit import Audit, Evidence
from tests.chaos.aws_faults import AwsFaults
from tests.chaos.campaign import Campaign
from tests.chaos.leaks import COPY_STAYS, Text, find_leaks, texts_of
from tests.chaos.plan import Plan, make_plan
from tests.chaos.stack import campaign_stack

BOUND = 900.0  # seconds to wait, and three more for each upload; the machine may be busy

SAVERS_MET = '"code":"output_busy"'  # in a line of the poll function's log


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--uploads", type=_count, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", help="write what the vendor's server logs to this file")
    asked = parser.parse_args()
    if asked.log:
        logging.basicConfig(filename=asked.log, level=logging.INFO)
    else:
        # What goes wrong on purpose is in the table; a log would bury it.
        logging.disable(logging.CRITICAL)
    return run_campaign(make_plan(asked.uploads, asked.seed))


def run_campaign(plan: Plan) -> int:
    """Carry out a plan and print how it ended; 1 if anything is as it must not be."""
    began = time.monotonic()
    aws_faults = AwsFaults(plan.seed, plan.kills, plan.outages)
    with campaign_stack(plan) as stack:
        campaign = Campaign(plan, stack, aws_faults)
        campaign.run(BOUND + 3 * len(plan.uploads))
        fired = stack.end_vendor_faults()
        predictions = stack.numbered_predictions()
        texts = list(texts_of(stack))
        campaign.counts.update(f"searched for secrets: {text.kind}" for text in texts)
        campaign.counts["savers that met another"] = sum(SAVERS_MET in text.words for text in texts)
        evidence = Evidence(
            plan,
            campaign.uploads,
            stack.tasks(),
            stack.pngs(),
            predictions,
            campaign.stuck,
            find_leaks(texts, stack.secrets),
            stack.copies() - _told_of_copies(texts),
        )
    audit = Audit(evidence)
    found = report.findings(audit, campaign)
    for finding in found:
        print(finding, *_told_of(finding.task, texts), sep="\n  ")
    print(report.table(audit, campaign, fired, time.monotonic() - began))
    print(report.last_line(audit))
    return 1 if found else 0


def _told_of(task: Task | None, texts: list[Text]) -> list[str]:
    """What logs and the histories of executions say of a task."""
    told = [text for text in texts if text.kind in {"log line", "history"}]
    return [f"{t.place}: {t.words}" for t in told if task and task.task_id in t.place + t.words]


def _told_of_copies(texts: list[Text]) -> set[str]:
    """The tasks whose copy could not be deleted, as a log line says; their bucket will do it."""
    lines = (text.words for text in texts if text.kind == "log line" and COPY_STAYS in text.words)
    return {json.loads(line)["task_id"] for line in lines}


def _count(text: str) -> int:
    value = int(text)
    if value < 10:
        raise argparse.ArgumentTypeError("a campaign has 10 uploads or more")
    return value


if __name__ == "__main__":
    sys.exit(main())

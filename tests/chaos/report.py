"""The table that a campaign ends with."""

from collections import Counter
from collections.abc import Iterator, Mapping

from cutout.domain.messages import FindingKind
from cutout.domain.tasks import Status
from tests.chaos.audit import (
    BILLED_TWICE,
    COPY_LEFT,
    LEAKED,
    LOST,
    PAID_FAILED,
    STUCK,
    UNACCOUNTED,
    UNEXPLAINED,
    WRONG_IMAGE,
    Audit,
    Finding,
)
from tests.chaos.campaign import Campaign
from tests.chaos.forged_callbacks import accepted
from tests.chaos.plan import Planned

POISON_GONE, FORGED = "poison in no queue", "forged callback accepted"
OVER_BUDGET = "more was accepted than the budget allows"
UNRECONCILED = "reconciliation did not succeed"
Row = tuple[str, object]


def findings(audit: Audit, campaign: Campaign) -> list[Finding]:
    """Everything that must not be."""
    poison = campaign.plan.poison
    missing = [Finding(POISON_GONE, repr(body)) for body in poison if body not in campaign.poisoned]
    forged = [Finding(FORGED, what) for what in accepted(campaign.forged)]
    return [*audit.findings, *missing, *forged, *_over_budget(campaign), *_unreconciled(campaign)]


def _unreconciled(campaign: Campaign) -> Iterator[Finding]:
    """The reconciliation after it all has to find what the audit finds: nothing is missing."""
    if None in campaign.reconciled:
        yield Finding(UNRECONCILED)
    counts = campaign.reconciled[-1] or {}
    for kind in (FindingKind.MISSING, FindingKind.OUTPUT_MISSING):
        if counts.get(kind):
            yield Finding(f"reconciliation counts {kind}", str(counts[kind]))


def _over_budget(campaign: Campaign) -> Iterator[Finding]:
    if campaign.within_budget > campaign.plan.budget:
        yield Finding(OVER_BUDGET, str(campaign.within_budget))


def table(audit: Audit, campaign: Campaign, fired: Mapping[str, int], seconds: float) -> str:
    rows = [
        *_ends(audit),
        ("", ""),
        *_bills(audit),
        ("", ""),
        *_counts(campaign),
        ("faults of the vendor that fired", sum(fired.values())),
        *((f"  {fault}", count) for fault, count in fired.items()),
        ("time", f"{seconds:.0f} s"),
    ]
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:{width}}  {value}".rstrip() for label, value in rows)


def last_line(audit: Audit) -> str:
    ends = _by_status(audit)
    return " ".join(
        [
            f"uploads={len(audit.evidence.plan.uploads)}",
            f"completed={ends[Status.COMPLETED]}",
            f"rejected={ends[Status.REJECTED]}",
            f"failed={ends[Status.FAILED]}",
            f"lost={audit.count(LOST)}",
            f"billed_twice={audit.count(BILLED_TWICE)}",
            f"wrong_image={audit.count(WRONG_IMAGE)}",
            f"stuck={audit.count(STUCK)}",
            f"paid_failed={audit.count(PAID_FAILED)}",
            f"leaked={audit.count(LEAKED)}",
        ]
    )


def _ends(audit: Audit) -> Iterator[Row]:
    uploads, ends = audit.evidence.plan.uploads, _by_status(audit)
    yield "uploads", f"{len(uploads)} ({len({planned.key for planned in uploads})} keys)"
    for status in (Status.COMPLETED, Status.SUPERSEDED):
        yield f"  {status}", ends[status]
    for status in (Status.REJECTED, Status.FAILED, Status.UNCERTAIN):
        yield f"  {status}", ends[status]
        for code, count in sorted(_by_code(audit, status).items()):
            yield f"    {code}", count
    for what in (LOST, STUCK, PAID_FAILED, WRONG_IMAGE, UNEXPLAINED, LEAKED, COPY_LEFT):
        yield f"  {what}", audit.count(what)


def _bills(audit: Audit) -> Iterator[Row]:
    predictions = audit.evidence.predictions
    converted = sum(task.converted for task in audit.evidence.tasks.values())
    yield "accepted by the vendor", len(predictions)
    yield "  as a converted copy", converted
    yield "  refunded, for the vendor failed", len(predictions) - len(audit.billed)
    yield "  billed", len(audit.billed)
    yield "    to a task that knows its prediction", audit.settled_bills
    yield "    to a task that is uncertain", audit.held_bills
    yield f"    {UNACCOUNTED}", audit.count(UNACCOUNTED)
    yield f"  {BILLED_TWICE}", audit.count(BILLED_TWICE)


def _counts(campaign: Campaign) -> Iterator[Row]:
    aws_faults = campaign.aws_faults
    yield from sorted(campaign.counts.items())
    yield f"accepted within a budget of {campaign.plan.budget} images", campaign.within_budget
    yield "poison, all in the dead-letter queue", len(campaign.poisoned)
    yield "functions killed", f"{len(aws_faults.killed)} of {len(aws_faults.kills)} planned"
    yield from (
        (f"  {name}", n) for name, n in Counter(k.function for k in aws_faults.killed).items()
    )
    yield "calls to AWS that failed", sum(aws_faults.fired.values())
    yield from ((f"  {what}", count) for what, count in sorted(aws_faults.fired.items()))
    yield "reconciliation at the end", ""
    yield from ((f"  {what}", count) for what, count in (campaign.reconciled[-1] or {}).items())
    yield "forged callbacks", sum(campaign.forged.values())
    yield from ((f"  {what}", count) for what, count in sorted(campaign.forged.items()))


def _by_status(audit: Audit) -> Counter[Status]:
    return Counter(task.status for task in map(audit.evidence.task, _uploads(audit)) if task)


def _by_code(audit: Audit, status: Status) -> Counter[str]:
    tasks = map(audit.evidence.task, _uploads(audit))
    return Counter(str(task.code) for task in tasks if task and task.status is status)


def _uploads(audit: Audit) -> list[Planned]:
    return audit.evidence.plan.uploads

"""What a campaign does: decided by its size and seed alone, before anything runs."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import TypeVar

from cutout_local.wavespeed.faults import Fault, FaultRule
from tests.chaos.aws_faults import APART, CALLS_PER_UPLOAD, SERVICES, Kill
from tests.chaos.files import KINDS, PHOTO, Expected, Kind

# Per hundred uploads. To what is left, the vendor does nothing out of the ordinary.
ODD_FILES, FAULTS, REVISIONS, ABORTS = 27, 43, 12, 2
KILLS, POISON, FORGERIES, OUTAGES, BUDGET = 8, 3, 8, 2.5, 10
SHORT = 60  # a campaign of fewer uploads leaves out what takes a minute and more
WAVE = 12
EARLY = 3
WITHIN = 8  # how many uploads later, at most, the same key is used again

_TIMES = {  # of faults that pass; the others strike whenever they can
    Fault.SUBMIT_DROPPED: 1,
    Fault.SUBMIT_SERVER_ERROR: 1,
    Fault.SUBMIT_BAD_GATEWAY: 1,
    Fault.SUBMIT_RATE_LIMITED: 1,
    Fault.SUBMIT_NO_CREDITS: 1,
    Fault.SUBMIT_REDIRECTED: 1,
    Fault.RESULT_OF_ANOTHER: 2,
    Fault.RESULT_DROPPED: 2,
    Fault.RESULT_RATE_LIMITED: 2,
    Fault.RESULT_SERVER_ERROR: 4,
    Fault.RESULT_BAD_GATEWAY: 4,
    Fault.OUTPUT_TRUNCATED: 2,
}
_SECONDS = {
    Fault.SUBMIT_ACCEPTED_LATE: 3.0,
    Fault.TASK_SLOW: 5.0,
    Fault.OUTPUT_SLOW: 8.0,
    Fault.WEBHOOK_LATE: 3.0,
}
_LONG = {Fault.TASK_NEVER_ENDS}  # until the deadline
_FOR_ALL = {Fault.PRICE_TOO_LOW}  # about no upload
_ANSWER_LOST = {
    Fault.SUBMIT_ACCEPTED_DROPPED,
    Fault.SUBMIT_ACCEPTED_GATEWAY_TIMEOUT,
    Fault.SUBMIT_ACCEPTED_TIMEOUT,
    Fault.SUBMIT_ACCEPTED_AS_ANOTHER,
}
_COMPANIONS = [
    Fault.RESULT_DROPPED,
    Fault.RESULT_SERVER_ERROR,
    Fault.OUTPUT_TRUNCATED,
    Fault.WEBHOOK_LOST,
    Fault.WEBHOOK_LATE,
    Fault.WEBHOOK_TWICE,
    Fault.WEBHOOK_FORGED,
]
_POISON = [
    "what?",
    "{}",
    "[]",
    '{"detail": {"bucket": {"name": "b"}, "object": {"size": 1}}}',
    '{"detail": {"bucket": {"name": "b"}, "object": {"key": "", "size": 1, "etag": "e"}}}',
    '{"detail-type": "Cutout Retry", "detail": {"task_id": "../../x"}}',
    '{"detail-type": "Cutout Retry", "detail": {"task_id": "' + "0" * 32 + '"}}',
    "\N{PILE OF POO}" * 100,
]
T = TypeVar("T")


@dataclass(frozen=True)
class Planned:
    """One upload. Its number is in its pixels; its event comes once, and `copies` times again."""

    name: str = ""
    number: int = 0
    kind: str = "photo"
    faults: tuple[Fault, ...] = ()
    copies: int = 0
    aborted: bool = False

    @property
    def file(self) -> Kind:
        return KINDS.get(self.kind, PHOTO)

    @property
    def expected(self) -> Expected:
        return self.file.expected

    @property
    def key(self) -> str:
        return self.file.key.format(name=self.name)

    @property
    def body(self) -> bytes:
        return self.file.make(self.number)

    @property
    def endless(self) -> bool:
        return Fault.TASK_NEVER_ENDS in self.faults

    @property
    def may_be_revised(self) -> bool:
        # Of a task that never ends nobody can tell which revision it was about.
        return self.expected is Expected.COMPLETED and not self.endless and not self.aborted


@dataclass(frozen=True)
class Plan:
    """Uploads in their order, wave by wave; what the vendor does to them; and what else happens.

    `budget` is how many images may be sent until the wave `budget_raised`.
    """

    seed: int
    waves: tuple[tuple[Planned, ...], ...]
    rules: tuple[FaultRule, ...]
    kills: tuple[Kill, ...]
    outages: tuple[str, ...]
    poison: tuple[str, ...]
    forgeries: int
    budget: int

    @property
    def versioned(self) -> bool:
        """Whether revisions are kept, or each takes the place of the one before."""
        return self.seed % 2 == 1

    @property
    def settles(self) -> bool:
        """Whether uncertain submits are settled from the vendor's history, or held."""
        return self.seed % 2 == 0

    @property
    def budget_raised(self) -> int:
        return max(1, len(self.waves) // 3)

    @property
    def rotation(self) -> int | None:
        """The wave before which the vendor takes a new key; the secret has it a wave later."""
        return None if self.short else len(self.waves) // 2

    @property
    def short(self) -> bool:
        """Whether to leave out what takes a minute and more."""
        return len(self.uploads) < SHORT

    @property
    def seconds(self) -> float:
        """For how long uploads come: until every service has been away."""
        return len(self.outages) * APART

    @property
    def uploads(self) -> list[Planned]:
        return [upload for wave in self.waves for upload in wave]

    @property
    def early(self) -> tuple[Planned, ...]:
        """Those of the first uploads that come before EventBridge listens, and stay the newest."""
        times = Counter(upload.key for upload in self.uploads)
        found = [one for one in self.waves[0] if one.may_be_revised and times[one.key] == 1]
        return tuple(found[:EARLY])


def make_plan(uploads: int, seed: int) -> Plan:
    rng = random.Random(f"{uploads} {seed}")  # noqa: S311
    revisions = _share(uploads, REVISIONS)
    first = _first_uploads(uploads - revisions, rng, short=uploads < SHORT)
    everything = _numbered(_with_revisions(first, revisions, rng), rng)
    waves = [tuple(everything[at : at + WAVE]) for at in range(0, uploads, WAVE)]
    return Plan(
        seed=seed,
        waves=tuple(waves),
        rules=(
            *(FaultRule(fault=fault) for fault in _FOR_ALL),
            *(rule for upload in first for rule in _rules(upload)),
        ),
        kills=tuple(
            _kill(where, uploads, rng)
            for where in _picked(list(CALLS_PER_UPLOAD), _share(uploads, KILLS), rng)
        ),
        outages=tuple(rng.sample(list(SERVICES), min(len(SERVICES), _share(uploads, OUTAGES)))),
        poison=_poison(_share(uploads, POISON), rng),
        forgeries=_share(uploads, FORGERIES),
        budget=_share(uploads, BUDGET),
    )


def _share(uploads: int, per_hundred: float) -> int:
    return max(1, round(uploads * per_hundred / 100))


def _picked(all_: Sequence[T], count: int, rng: random.Random) -> Iterator[T]:
    """As many, in any order, each about as often as any other."""
    return islice(cycle(rng.sample(all_, len(all_))), count)


def _first_uploads(count: int, rng: random.Random, *, short: bool) -> list[Planned]:
    odd = [Planned(kind=kind) for kind in _picked(list(KINDS), _share(count, ODD_FILES), rng)]
    left_out = _FOR_ALL | (_LONG if short else set())
    faults = [fault for fault in Fault if fault not in left_out]
    faulty = [
        Planned(faults=_with_companion(fault, rng))
        for fault in _picked(faults, _share(count, FAULTS), rng)
    ]
    # Slow, so that there is a wait loop to abort.
    aborted = [Planned(faults=(Fault.TASK_SLOW,), aborted=True)] * _share(count, ABORTS)
    special = [*odd, *faulty, *aborted]
    mixed = special + [Planned()] * (count - len(special))
    rng.shuffle(mixed)
    # First what takes longest: it runs into its deadline while the others come.
    mixed.sort(key=lambda upload: not upload.endless)
    return [replace(upload, name=f"u{place:05}") for place, upload in enumerate(mixed)]


def _with_companion(fault: Fault, rng: random.Random) -> tuple[Fault, ...]:
    """Half of the lost answers lose their webhook too; others have a third chance of more."""
    if fault in _ANSWER_LOST:
        return (fault, Fault.WEBHOOK_LOST) if rng.random() < 1 / 2 else (fault,)
    if rng.random() < 1 / 3:
        return (fault, rng.choice([other for other in _COMPANIONS if other != fault]))
    return (fault,)


def _with_revisions(first: list[Planned], count: int, rng: random.Random) -> list[Planned]:
    everything = list(first)
    candidates = [upload for upload in first if upload.may_be_revised]
    # While one revision is being saved, the next one comes.
    slow = [upload for upload in candidates if Fault.OUTPUT_SLOW in upload.faults]
    for again in [*slow, *rng.choices(candidates, k=count)][:count]:
        after = max(place for place, upload in enumerate(everything) if upload.name == again.name)
        everything.insert(after + 1 + rng.randrange(WITHIN), again)
    return everything


def _numbered(uploads: list[Planned], rng: random.Random) -> list[Planned]:
    return [
        replace(upload, number=number, copies=rng.choice([0, 0, 1, 1, 2, 3]))
        for number, upload in enumerate(uploads)
    ]


def _rules(upload: Planned) -> Iterator[FaultRule]:
    for fault in upload.faults:
        more = {"seconds": _SECONDS[fault]} if fault in _SECONDS else {}
        yield FaultRule(fault=fault, match=upload.name, times=_TIMES.get(fault), **more)


def _kill(where: tuple[str, str], uploads: int, rng: random.Random) -> Kill:
    nth = 1 + rng.randrange(max(1, round(uploads * CALLS_PER_UPLOAD[where])))
    return Kill(*where, nth=nth, carried_out=rng.random() < 1 / 2)


def _poison(count: int, rng: random.Random) -> tuple[str, ...]:
    # White space tells equal ones apart and changes no meaning.
    return tuple(
        text + " " * place for place, text in enumerate(_picked(_POISON, count, rng), start=1)
    )

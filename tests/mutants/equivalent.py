"""Mutants that no test can or should tell from the code, by name, each with the reason."""

_TUNED = "a limit that was chosen; one more or less of it is as good, and no promise"
_NO_PROXY = (
    "httpx asks the environment for proxies only where no transport is given, as one is here"
)

_LONG_AGO = "any time that is long ago, here in microseconds of 1970, is as good"
_TYPE = "only the type checker reads it"
_SAME_LENGTH = "the one list is made of the other"
_CAPPED = "so many digits are more than the cap"
_TAKEN_BEFORE = "what is equal was taken by the write before"
_SAME_TLS = "the context that httpx makes by itself is the same, only slower"

EQUIVALENT: dict[str, str] = {
    "store.table module: (str, Any) -> (Any,)": _TYPE,
    "store.table module: (str, Any) -> (str,)": _TYPE,
    "store.output_locks OutputLocks.acquire: held < mine -> held <= mine": (
        "what is equal was found just before"
    ),
    "store.ledger module: datetime.max.replace(...) without tzinfo": (
        "only its text is used, which comes after all others with and without a zone"
    ),
    "store.ledger module: 8 -> 9": _TUNED,
    "store.ledger Ledger.missing: zip(...) without strict": _SAME_LENGTH,
    "store.ledger Ledger.missing: True -> False": _SAME_LENGTH,
    "store.ledger _remembered: {None, changes.get('prediction_id', task.prediction_id)} -> "
    "{changes.get('prediction_id', task.prediction_id)}": "it writes what is there already",
    "store.ledger Ledger.count: 100 -> 101": _TUNED,
    "store.ledger Ledger.count: 100 -> 99": _TUNED,
    "store.governor Governor.slot: 0 -> 1": _LONG_AGO,
    "store.governor Governor.slot: 0 -> -1": _LONG_AGO,
    "store.governor Governor.slot: 0 -> 1 (2)": _LONG_AGO,
    "store.governor Governor.slot: 0 -> -1 (2)": _LONG_AGO,
    "store.governor Governor.slots: 0 -> 1": _LONG_AGO,
    "store.governor Governor.slots: 0 -> -1": _LONG_AGO,
    "store.governor Governor.set_backlog: 0 -> 1": _LONG_AGO,
    "store.governor Governor.set_backlog: 0 -> -1": _LONG_AGO,
    "store.governor Governor.back_off: self._try('SET next_slot = :later', 'next_slot < :later', "
    "{':later': later}) before self.table.update(KEY, 'SET refused_until = :later, slow_until = "
    ":slow', values={':later': later, ':slow': slow})": (
        "a crash in between leaves one half or the other, and the vendor says so again"
    ),
    "store.governor Governor.back_off: 'next_slot < :later' -> 'next_slot <= :later'": (
        "it writes what is there already"
    ),
    "store.governor Governor._next_slot: 'attribute_not_exists(next_slot) OR next_slot < :now' -> "
    "'attribute_not_exists(next_slot) OR next_slot <= :now'": _TAKEN_BEFORE,
    "store.governor Governor._next_slot: 'next_slot > :last' -> 'next_slot >= :last'": (
        _TAKEN_BEFORE
    ),
    "store.governor _step: 0 -> 1": _LONG_AGO,
    "store.governor _step: 0 -> -1": _LONG_AGO,
    "poll module: ([], AbstractContextManager[Output]) -> (AbstractContextManager[Output],)": _TYPE,
    "poll module: ([], AbstractContextManager[Output]) -> ([],)": _TYPE,
    "submit preflight: naming.check_output_key(task.output_key) before "
    "images.check_bytes(task.size, settings.max_upload_megabytes)": (
        "what both refuse is rejected either way"
    ),
    "wavespeed.client module: 0 -> -1": "no connection is kept either way",
    "wavespeed.client module: 100 -> 101": _TUNED,
    "wavespeed.client module: 100 -> 99": _TUNED,
    "wavespeed.client module: 128 -> 129": _TUNED,
    "wavespeed.client module: 128 -> 127": _TUNED,
    "wavespeed.client module: 1024 -> 1025": _TUNED,
    "wavespeed.client module: 1024 -> 1023": _TUNED,
    "wavespeed.client module: 1024 -> 1025 (2)": _TUNED,
    "wavespeed.client module: 1024 -> 1023 (2)": _TUNED,
    "wavespeed.client _retry_after: 9 -> 10": _CAPPED,
    "wavespeed.client _retry_after: 9 -> 8": _CAPPED,
    "wavespeed.client _refuse: reply.code >= HTTPStatus.BAD_REQUEST -> "
    "reply.code > HTTPStatus.BAD_REQUEST (2)": "a 400 was refused some lines before",
    "wavespeed.outputs module: ([str, int], str) -> (str,)": _TYPE,
    "wavespeed.outputs module: ([str, int], str) -> ([str, int],)": _TYPE,
    "wavespeed.outputs _PublicHosts.handle_request: httpx.Request(...) without stream": (
        "a download has no body"
    ),
    "wavespeed.outputs _decoded: if _BLANK.search(text, start): -> if True:": (
        "without blanks it only costs a copy"
    ),
    "wavespeed.outputs Outputs.__init__: False -> True": _NO_PROXY,
    "wavespeed.outputs Outputs.__init__: httpx.Client(...) without trust_env": _NO_PROXY,
    "wavespeed.client WaveSpeed.__init__: httpx.Client(...) without verify": _SAME_TLS,
}

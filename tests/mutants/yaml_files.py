"""Mutants of the template and the state machine: by hand, for what is a promise there is a number
or a word, and most other words are resources' names.

Each is run by the tests that read the files, in a fork in which reading the file gives the mutant.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.mutants.targets import ROOT
from tests.support.template import state_machine, template

TITLES = ("template.yaml", "statemachine")
_NAMES = ("promises", "state_machine", "template")
_TESTS = [str(ROOT / "tests" / "template" / f"test_{name}.py") for name in _NAMES]
# Layers take a minute to build, and have nothing to do with it.
_OPTIONS = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not layer", *_TESTS]
_WAIT_LOOP = "statemachine/wait_loop.asl.yaml"

# What stands there, what is put in its place, and which occurrence of it.
_TEMPLATE: list[tuple[str, str, int]] = [
    ("VisibilityTimeout: 1440", "VisibilityTimeout: 1439", 0),
    ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 3600", 0),
    ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 3600", 1),
    ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 3600", 2),
    ("MaximumRetryAttempts: 185", "MaximumRetryAttempts: 0", 0),
    ("MaximumRetryAttempts: 185", "MaximumRetryAttempts: 0", 1),
    ("MaximumEventAgeInSeconds: 86400", "MaximumEventAgeInSeconds: 60", 0),
    ("MaximumEventAgeInSeconds: 86400", "MaximumEventAgeInSeconds: 60", 1),
    ("SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false", 0),
    ("maxReceiveCount: !Ref MaxReceives", "maxReceiveCount: 1", 0),
    ("DeletionPolicy: Retain", "DeletionPolicy: Delete", 0),
    ("DeletionPolicy: Retain", "DeletionPolicy: Delete", 1),
    ("DeletionPolicy: Retain", "DeletionPolicy: Delete", 3),
    ("PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false", 0),
    ("DeletionProtectionEnabled: true", "DeletionProtectionEnabled: false", 0),
    ("AttributeName: expires_at, Enabled: true", "AttributeName: expires_at, Enabled: false", 0),
    ("AttributeName: expires_at, Enabled", "AttributeName: expires, Enabled", 0),
    ("Timeout: 240", "Timeout: 271", 0),
    ("&lease 270", "&lease 239", 0),
    ("Timeout: 300", "Timeout: 331", 0),
    ("LOCK_SECONDS: 330", "LOCK_SECONDS: 290", 0),
    ("LEASE_SECONDS: *lease", "LEASE_SECONDS: 60", 0),
    ("BatchSize: 1 ", "BatchSize: 10 ", 0),
    ("FunctionResponseTypes: [ReportBatchItemFailures]", "FunctionResponseTypes: []", 0),
    ("rate(1 minute)", "rate(1 day)", 0),
    ("IncludeExecutionData: false", "IncludeExecutionData: true", 0),
    ("Level: ERROR", "Level: ALL", 0),
    ("[FAILED, TIMED_OUT, ABORTED]", "[FAILED, TIMED_OUT]", 0),
    ("[FAILED, TIMED_OUT, ABORTED]", "[FAILED, ABORTED]", 0),
    ("[FAILED, TIMED_OUT, ABORTED]", "[TIMED_OUT, ABORTED]", 0),
    ("Configuration: {Status: Enabled}", "Configuration: {Status: Suspended}", 0),
    ("BlockPublicPolicy: true", "BlockPublicPolicy: false", 0),
    ("EventBridgeEnabled: true", "EventBridgeEnabled: false", 0),
    ("DaysAfterInitiation: 1", "DaysAfterInitiation: 365", 0),
    ("MaximumRetryAttempts: 2", "MaximumRetryAttempts: 0", 0),
]  # fmt: skip
_MACHINE: list[tuple[str, str, int]] = [
    ("TimeoutSeconds: 86400", "TimeoutSeconds: 3600", 0),
    ("TimeoutSeconds: 330", "TimeoutSeconds: 300", 0),
    ("TimeoutSeconds: 90", "TimeoutSeconds: 60", 0),
    ("MaxAttempts: 150", "MaxAttempts: 15", 0),
    ("MaxDelaySeconds: 60", "MaxDelaySeconds: 6", 0),
    ("BackoffRate: 2", "BackoffRate: 1", 0),
    ("          - ServiceError\n", "", 0),
    ("          - StatusChanged\n", "", 0),
    ("          - Lambda.TooManyRequestsException\n", "", 0),
    ("          - Runtime.ExitError\n", "", 0),
    ("          - Sandbox.Timedout\n", "", 0),
    ("[ServiceError, States.TaskFailed, States.Timeout]", "[States.Timeout]", 0),
    ("ErrorEquals: [States.ALL]\n        Assign:", "ErrorEquals: [TimedOut]\n        Assign:", 0),
    (" AND attribute_not_exists(called_back_at)", "", 0),
    ("'#status = :processing AND ", "'", 0),
    ("        Next: Completed", "        Next: Superseded", 0),
    ("    Default: Close", "    Default: Wait", 0),
    ("        Next: Wait for callback", "        Next: Wait", 0),
    ("wait_seconds %}'\n    Next: Poll", "wait_seconds %}'\n    Next: What now?", 0),
    ("[States.Timeout, DynamoDb.ConditionalCheckFailedException]", "[States.Timeout]", 0),
]  # fmt: skip


class YamlMutant(NamedTuple):
    """One changed place of a file."""

    name: str
    path: Path
    text: str


def yaml_mutants() -> list[YamlMutant]:
    """All of them. Raises `ValueError` for one whose place is not there any more."""
    made = []
    for file, changes in (("template.yaml", _TEMPLATE), (_WAIT_LOOP, _MACHINE)):
        path = ROOT / file
        for old, new, which in changes:
            before, *after = path.read_text(encoding="utf-8").split(old)
            if len(after) <= which:
                raise ValueError(f"{file} has no {old!r} number {which + 1} any more")
            text = old.join([before, *after[:which]]) + new + old.join(after[which:])
            said = f"{' '.join(old.split())} -> {' '.join(new.split()) or 'nothing'}"
            title = file.split("/")[0]
            made.append(
                YamlMutant(f"{title} {said}" + (f" ({which + 1})" if which else ""), path, text)
            )
    return made


def tests_pass() -> bool:
    """Run the tests in this process, for what they import is then there in every fork."""
    return pytest.main(_OPTIONS) == 0


def is_caught(mutant: YamlMutant) -> bool:
    """Whether a test fails."""
    pid = os.fork()
    if not pid:
        _run(mutant)
    _, status = os.waitpid(pid, 0)
    return status != 0


def _run(mutant: YamlMutant) -> None:
    """In the fork: never returns."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    reads: Callable[..., str] = Path.read_text

    def read_text(path: Path, *args: Any, **options: Any) -> str:
        return mutant.text if path.resolve() == mutant.path else reads(path, *args, **options)

    caught = True
    try:
        Path.read_text = read_text  # type: ignore[method-assign, assignment]
        template.cache_clear()
        state_machine.cache_clear()
        caught = not tests_pass()
    finally:
        os._exit(int(caught))

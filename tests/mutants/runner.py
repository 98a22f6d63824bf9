"""Runs mutants in forks of one process that has imported everything and run each test once.

A fork gets the mutant's code into the functions that are there already, and runs the tests that
came by the mutated lines, the quickest first, until one of them fails. So a mutant costs about what
its first failing test costs.
"""

import ast
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import coverage
import pytest
from _pytest.runner import runtestprotocol

from tests.mutants.operators import Mutant

_PASSED, _FAILED = "passed", "failed"
_PATIENCE = 2  # seconds, beside ten times what a test took: an endless loop is noticed


class NotImportable(Exception):
    """With the mutant, its module cannot even be imported."""


def told(number: int, count: int, name: str, *, caught: bool) -> str:
    """One line of progress."""
    return f"{number}/{count} {'caught' if caught else 'SURVIVED'}: {name}"


@dataclass
class Runner:
    """A pytest plugin: instead of running the tests, it has them run against each mutant.

    `caught` has a truth value for each mutant's name; `problem` says why there was no run.
    """

    mutants: list[Mutant]
    tell: Callable[[str], object]  # pytest has taken standard output
    caught: dict[str, bool] = field(default_factory=dict)
    problem: str = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Replaces pytest's own loop."""
        tests = _Tests(session.items, sorted({str(mutant.path) for mutant in self.mutants}))
        if failed := tests.run_all():
            self.problem = f"without any mutant, {failed} fails"
            return True
        if failed := failing(None, tests.items, tests.seconds):
            self.problem = f"without any mutant, {failed} fails when it is run once more"
            return True
        for number, mutant in enumerate(self.mutants, 1):
            chosen = tests.of(mutant)
            self.caught[mutant.name] = bool(failing(mutant, chosen, tests.seconds))
            line = told(number, len(self.mutants), mutant.name, caught=self.caught[mutant.name])
            self.tell(f"{line}\n")
        return True


@dataclass
class _Tests:
    """The tests, how long each takes, and which lines it comes by."""

    items: list[pytest.Item]
    files: list[str]
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._coverage = coverage.Coverage(data_file=None, include=self.files, config_file=False)

    def run_all(self) -> str | None:
        """Run each test once. Returns one that failed."""
        self._coverage.start()
        for item in self.items:
            self._coverage.switch_context(item.nodeid)
            begun = time.process_time()
            if _fails(item):
                return item.nodeid
            self.seconds[item.nodeid] = time.process_time() - begun
        self._coverage.stop()
        return None

    @cached_property
    def _by_line(self) -> dict[str, dict[int, list[str]]]:
        data = self._coverage.get_data()
        return {file: data.contexts_by_lineno(file) for file in self.files}

    def of(self, mutant: Mutant) -> list[pytest.Item]:
        """Those that come by a mutant, the quickest first.

        All, where that is not known, and for a function whose first answer is kept.
        """
        by_line = self._by_line[str(mutant.path)]
        is_kept = _is_cached(getattr(module_of(mutant.path), mutant.qualname, None))
        if is_kept:
            named = set(self.seconds)
        elif mutant.comes_by:
            named = {name for line in mutant.comes_by for name in by_line.get(line, [])}
        else:
            named = {name for names in by_line.values() for name in names}
        found = [item for item in self.items if item.nodeid in named]
        return sorted(found, key=lambda item: self.seconds[item.nodeid])


def _fails(item: pytest.Item) -> bool:
    """Run one test. Afterwards all that it shares with its neighbours still stands."""
    item.session._setupstate.teardown_exact(item)
    shared: Any = item.parent  # where the next test belongs is not known
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=shared))


def failing(mutant: Mutant | None, items: list[pytest.Item], seconds: dict[str, float]) -> str:
    """The first test that, in a fork with the mutant, fails or does not end; else nothing.

    Raises `RuntimeError` if the fork came to no result, as where the mutant could not be made.
    """
    reads, writes = os.pipe()
    pid = os.fork()
    if not pid:
        _run(mutant, items, seconds, writes)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        *begun, last = pipe.read().split("\n")
    _, status = os.waitpid(pid, 0)
    if begun and (last == _FAILED or os.waitstatus_to_exitcode(status) == -signal.SIGPROF):
        return begun[-1]
    if last != _PASSED:
        raise RuntimeError(f"a fork broke, status {status}: {mutant}")
    return ""


def _run(
    mutant: Mutant | None, items: list[pytest.Item], seconds: dict[str, float], told: int
) -> None:
    """In the fork: never returns."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        if mutant:
            apply(mutant)
        for item in items:
            os.write(told, f"{item.nodeid}\n".encode())
            if _notices(item, seconds[item.nodeid]):
                os.write(told, _FAILED.encode())
                break
        else:
            os.write(told, _PASSED.encode())
    except NotImportable:
        os.write(told, f"the import\n{_FAILED}".encode())
    finally:
        os._exit(0)


def _notices(item: pytest.Item, seconds: float) -> bool:
    """Whether a test fails. One that does not end ends the process, as a signal's victim."""
    limit = _PATIENCE + 10 * seconds  # of the processor, not of the clock
    signal.setitimer(signal.ITIMER_PROF, limit)
    return _fails(item)


def module_of(path: Path) -> ModuleType:
    """The module of a file of the layer."""
    parts = path.with_suffix("").parts
    return importlib.import_module(".".join(parts[parts.index("layers") + 2 :]))


def apply(mutant: Mutant) -> None:
    """Put a mutant's code where the module's is."""
    module, tree = module_of(mutant.path), mutant.make()
    if mutant.qualname:
        codes = dict(_codes(compile(tree, str(mutant.path), "exec")))
        function = _functions(module)[mutant.qualname]
        function.__code__ = codes[mutant.qualname]
        for value in vars(module).values():
            if _is_cached(value):  # what it made before is forgotten
                value.cache_clear()
        return
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and mutant.lines.start in _lines(statement):
            before, assigned = vars(module).copy(), ast.Module([statement], [])
            try:
                exec(compile(assigned, str(mutant.path), "exec"), vars(module))  # noqa: S102
            except Exception as error:
                raise NotImportable from error
            for name in _names(statement):
                _replace_everywhere(name, before[name], vars(module)[name])


def _names(statement: ast.Assign) -> Iterator[str]:
    for target in statement.targets:
        yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _is_cached(function: Any) -> bool:
    return hasattr(function, "cache_clear")


def _lines(statement: ast.stmt) -> range:
    return range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)


def _replace_everywhere(name: str, old: Any, new: Any) -> None:
    """A constant lives in each module that has imported it."""
    for module in list(sys.modules.values()):
        if getattr(module, name, None) is old:
            setattr(module, name, new)


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner.co_qualname, inner
            yield from _codes(inner)


def _functions(owner: Any) -> dict[str, FunctionType]:
    """A module's own functions and methods, by their qualified names."""
    found = {}
    for value in vars(owner).values():
        inner = getattr(value, "fget", None) or getattr(value, "func", None) or value
        while hasattr(inner, "__wrapped__") or isinstance(inner, classmethod | staticmethod):
            inner = inner.__func__ if hasattr(inner, "__func__") else inner.__wrapped__
        if isinstance(inner, FunctionType):
            found[inner.__qualname__] = inner
        elif isinstance(inner, type) and inner.__module__ == getattr(
            owner, "__module__", owner.__name__
        ):
            found |= _functions(inner)
    return found

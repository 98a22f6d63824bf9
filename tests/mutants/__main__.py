"""`make mutants`: would the tests notice? See CONTRIBUTING.md."""

import argparse
import os
import sys
from collections import Counter

import pytest

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.operators import Mutant, mutants
from tests.mutants.runner import Runner, told
from tests.mutants.targets import LAYER, MODULES, ROOT
from tests.mutants.yaml_files import is_caught, tests_pass, yaml_mutants

_LEAST = 0.95


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("parts", nargs="*", help="such as store.ledger or yaml; all if left out")
    parser.add_argument("--list", action="store_true", help="only name the mutants")
    asked = parser.parse_args()
    chosen = [name for name in MODULES if _short(name) in (asked.parts or [_short(name)])]
    made = [mutant for name in chosen for mutant in _of(name)]
    of_yaml = yaml_mutants() if "yaml" in (asked.parts or ["yaml"]) else []
    if asked.list:
        print(*(mutant.name for mutant in made), *(mutant.name for mutant in of_yaml), sep="\n")
        return 0
    if of_yaml and not tests_pass():
        sys.exit("the template's tests fail without any mutant")
    caught = {}
    for number, mutant in enumerate(of_yaml, 1):
        caught[mutant.name] = is_caught(mutant)
        print(told(number, len(of_yaml), mutant.name, caught=caught[mutant.name]), flush=True)
    return _report(caught | _run(chosen, made))


def _run(modules: list[str], made: list[Mutant]) -> dict[str, bool]:
    """Whether each mutant is caught. Ends the program if the tests fail without any."""
    if not made:
        return {}
    tests = {str(ROOT / "tests" / test) for name in modules for test in MODULES[name]}
    terminal = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    runner = Runner(made, terminal.write)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=0"]
    pytest.main([*options, *sorted(tests)], plugins=[runner])
    if len(runner.caught) < len(made):
        sys.exit(runner.problem or "the tests could not be collected")
    return runner.caught


def _short(module: str) -> str:
    return module.removeprefix("cutout.")


def _of(module: str) -> list[Mutant]:
    path = LAYER / f"{module.replace('.', '/')}.py"
    return mutants(path, _short(module))


def _report(caught: dict[str, bool]) -> int:
    titles = Counter(name.split()[0] for name in caught)
    survived = [name for name in caught if not caught[name]]
    for title, count in titles.items():
        left = [name for name in survived if name.split()[0] == title]
        named = sum(name in EQUIVALENT for name in left)
        print(f"{title:20} {count:5} mutants, {count - len(left)} caught, {named} equivalent")
    unexplained = [name for name in survived if name not in EQUIVALENT]
    explained = [name for name in EQUIVALENT if name.split()[0] in titles]
    stale = [name for name in explained if caught.get(name, True)]
    for name in unexplained:
        print(f"survived: {name}")
    for name in stale:
        print(f"named equivalent, but caught, or not there any more: {name}")
    share = 1 - len(survived) / len(caught)
    print(f"{len(caught)} mutants, {share:.1%} caught")
    return int(bool(unexplained or stale or share < _LEAST))


if __name__ == "__main__":
    sys.exit(main())

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
from tests.mutants.yaml_files import YamlMutant, is_caught, tests_pass, yaml_mutants

_LEAST = 0.95


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", help="how a mutant's name begins, such as store.ledger; or yaml"
    )
    parser.add_argument("--list", action="store_true", help="only name the mutants")
    parser.add_argument(
        "--equivalent",
        action="store_true",
        help="run those that are named equivalent, which else are not: none may be caught",
    )
    asked = parser.parse_args()
    begins = tuple(asked.parts) or ("",)
    made = {name: [one for one in _of(name) if one.name.startswith(begins)] for name in MODULES}
    of_yaml = yaml_mutants() if "yaml" in (asked.parts or ["yaml"]) else []
    names = [mutant.name for some in made.values() for mutant in some]
    names += [mutant.name for mutant in of_yaml]
    if asked.list:
        print(*names, sep="\n")
        return 0
    if not (of_yaml or any(made.values())):
        sys.exit(f"no mutant's name begins with {' or '.join(begins)}")
    caught = _run_yaml(of_yaml)
    for name, some in made.items():
        chosen = [mutant for mutant in some if (mutant.name in EQUIVALENT) == asked.equivalent]
        caught |= _run(MODULES[name], chosen)
    return _report(names, caught, begins)


def _run_yaml(made: list[YamlMutant]) -> dict[str, bool]:
    """As `_run` does."""
    if made and not tests_pass():
        sys.exit("the template's tests fail without any mutant")
    caught = {}
    for number, mutant in enumerate(made, 1):
        caught[mutant.name] = is_caught(mutant)
        print(told(number, len(made), mutant.name, caught=caught[mutant.name]), flush=True)
    return caught


def _run(tests: list[str], made: list[Mutant]) -> dict[str, bool]:
    """Whether each mutant is caught. Ends the program if the tests fail without any."""
    if not made:
        return {}
    terminal = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    runner = Runner(made, terminal.write)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=0"]
    pytest.main([*options, *(str(ROOT / "tests" / test) for test in tests)], plugins=[runner])
    if len(runner.caught) < len(made):
        sys.exit(runner.problem or "the tests could not be collected")
    return runner.caught


def _short(module: str) -> str:
    return module.removeprefix("cutout.")


def _of(module: str) -> list[Mutant]:
    path = LAYER / f"{module.replace('.', '/')}.py"
    return mutants(path, _short(module))


def _report(names: list[str], caught: dict[str, bool], begins: tuple[str, ...]) -> int:
    """Of all mutants that were asked for, those that were run, and what is left to do."""
    survived = [name for name, is_caught in caught.items() if not is_caught]
    for title, count in Counter(map(_title, names)).items():
        of_it = [name for name in names if _title(name) == title]
        found = sum(caught.get(name, False) for name in of_it)
        named = sum(name in EQUIVALENT for name in of_it)
        print(f"{title:20} {count:5} mutants, {found} caught, {named} equivalent")
    wrong = [f"survived: {name}" for name in survived if name not in EQUIVALENT]
    wrong += [f"named equivalent, but caught: {name}" for name in EQUIVALENT if caught.get(name)]
    gone = {name for name in EQUIVALENT if name.startswith(begins)} - set(names)
    wrong += [f"named equivalent, but not there any more: {name}" for name in sorted(gone)]
    print(*wrong, sep="\n")
    equivalent = sum(name in EQUIVALENT for name in names)
    share = 1 - (equivalent + len(wrong)) / len(names)
    print(f"{len(names)} mutants, {share:.1%} caught")
    return int(bool(wrong) or share < _LEAST)


def _title(name: str) -> str:
    return name.split()[0]


if __name__ == "__main__":
    sys.exit(main())

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
    asked = parser.parse_args()
    begins = tuple(asked.parts) or ("",)
    made = {name: [one for one in _of(name) if one.name.startswith(begins)] for name in MODULES}
    of_yaml = yaml_mutants() if "yaml" in (asked.parts or ["yaml"]) else []
    if asked.list:
        named = [mutant.name for some in (*made.values(), of_yaml) for mutant in some]
        print(*named, sep="\n")
        return 0
    caught = _run_yaml(of_yaml)
    for name, some in made.items():
        caught |= _run(MODULES[name], some)
    if not caught:
        sys.exit(f"no mutant's name begins with {' or '.join(begins)}")
    return _report(caught, begins)


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


def _report(caught: dict[str, bool], begins: tuple[str, ...]) -> int:
    titles = Counter(name.split()[0] for name in caught)
    survived = [name for name in caught if not caught[name]]
    for title, count in titles.items():
        left = [name for name in survived if name.split()[0] == title]
        named = sum(name in EQUIVALENT for name in left)
        print(f"{title:20} {count:5} mutants, {count - len(left)} caught, {named} equivalent")
    unexplained = [name for name in survived if name not in EQUIVALENT]
    explained = [name for name in EQUIVALENT if name.startswith(begins)]
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

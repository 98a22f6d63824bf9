import re

import pytest

from cutout.domain import errors
from cutout.domain.errors import CutoutError, NotNow, code_of


def all_errors() -> list[type[CutoutError]]:
    """Those of the module; other packages may add their own."""
    found, left = [], [CutoutError]
    while left:
        error = left.pop()
        found.append(error)
        left.extend(error.__subclasses__())
    ours = [error for error in found if error.__module__ == errors.__name__]
    return sorted(ours, key=lambda error: error.__name__)


def ancestors_drawn_in(tree: str) -> dict[str, str]:
    """The parent of each name in a tree whose branches are four characters wide."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in tree.splitlines():
        drawn = re.match(r"([│ ]*(?:[├└]── )?)(\w+)", line)
        if drawn and drawn[2] in vars(errors):
            path[len(drawn[1]) // 4 :] = [drawn[2]]
            parents[drawn[2]] = path[-2] if len(path) > 1 else "Exception"
    return parents


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    assert ancestors_drawn_in(errors.__doc__ or "") == {
        error.__name__: error.__bases__[0].__name__ for error in all_errors()
    }


@pytest.mark.parametrize("error", all_errors())
def test_each_error_says_its_situation_in_one_line(error: type[CutoutError]) -> None:
    assert error.__doc__
    assert len(error.__doc__.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("TimedOut", "timed_out"),
        ("UploadTooLarge", "upload_too_large"),
        ("Failed", "failed"),
        ("States.Timeout", "states.timeout"),
        ("Lambda.ServiceException", "lambda.service_exception"),
    ],
)
def test_the_code_is_the_class_name_in_snake_case(name: str, code: str) -> None:
    assert code_of(name) == code


def test_an_error_knows_its_code() -> None:
    assert errors.OutputGone("gone").code == "output_gone"


def test_codes_are_unambiguous() -> None:
    codes = [code_of(error.__name__) for error in all_errors()]
    assert len(set(codes)) == len(codes)


def test_a_wait_is_the_situations_own_unless_it_is_given() -> None:
    assert errors.InsufficientCredits("empty").wait_seconds == 900
    assert errors.RateLimited("slow down", 7).wait_seconds == 7
    assert errors.RateLimited("slow down").wait_seconds == NotNow.wait_seconds == 60

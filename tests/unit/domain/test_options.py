import pytest

from cutout.domain.errors import BadOverride
from cutout.domain.options import Options, overridden

STACK = Options(model="acme/stack", sync=False, base64_output=True)
ALLOWED = {"acme/other", "acme/third"}


def test_an_object_without_overrides_gets_the_defaults_of_the_stack() -> None:
    assert overridden(STACK, {}, ALLOWED) == STACK
    assert overridden(STACK, {"title": "cutout-model", "cutout-colour": "red"}, ALLOWED) == STACK


@pytest.mark.parametrize(
    ("metadata", "options"),
    [
        ({"cutout-model": "acme/other"}, Options(model="acme/other", base64_output=True)),
        ({"cutout-sync": "true"}, Options(model="acme/stack", sync=True, base64_output=True)),
        ({"cutout-base64": "false"}, Options(model="acme/stack")),
        (
            {"cutout-model": "acme/third", "cutout-sync": "true", "cutout-base64": "false"},
            Options(model="acme/third", sync=True),
        ),
    ],
)
def test_an_object_can_ask_for_something_else(metadata: dict[str, str], options: Options) -> None:
    assert overridden(STACK, metadata, ALLOWED) == options


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize(("value", "on"), [("true", True), ("false", False), ("TRUE", True)])
def test_a_switch_goes_either_way_whatever_the_default(default: bool, value: str, on: bool) -> None:
    defaults = Options(model="m", sync=default, base64_output=default)
    asked = overridden(defaults, {"cutout-sync": value, "cutout-base64": value}, ())
    assert (asked.sync, asked.base64_output) == (on, on)


@pytest.mark.parametrize("name", ["cutout-sync", "cutout-base64"])
@pytest.mark.parametrize("value", ["", "yes", "1", " true", "on", "true\n"])
def test_a_switch_is_true_or_false(name: str, value: str) -> None:
    with pytest.raises(BadOverride) as caught:
        overridden(STACK, {name: value}, ALLOWED)
    assert str(caught.value) == f"the object's {name} is {value!r}; it can be true or false"


@pytest.mark.parametrize("model", ["", "acme/unknown", "ACME/other", "acme/other ", "../balance"])
def test_a_model_must_be_allowed(model: str) -> None:
    with pytest.raises(BadOverride) as caught:
        overridden(STACK, {"cutout-model": model}, ALLOWED)
    assert str(caught.value) == (
        f"the object asks for the model {model!r};"
        " the stack allows acme/other, acme/stack, acme/third"
    )


def test_the_model_of_the_stack_is_always_allowed() -> None:
    assert overridden(STACK, {"cutout-model": "acme/stack"}, ()) == STACK


def test_without_a_list_no_other_model_is_allowed() -> None:
    with pytest.raises(BadOverride, match=r"the stack allows acme/stack$"):
        overridden(STACK, {"cutout-model": "acme/other"}, ())

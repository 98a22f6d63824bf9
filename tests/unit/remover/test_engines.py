import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests

from cutout_local.remover import RemoverUnavailable, load, u2netp
from cutout_local.remover.engines import rembg_model_file
from cutout_local.remover.result import Image

HOMES = ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME")


class FakeRembg(ModuleType):
    """rembg's two functions, with a left half that is subject."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__("rembg")
        self.failure = failure
        self.models: list[str] = []

    def new_session(self, model: str) -> object:
        self.models.append(model)
        if self.failure:
            raise self.failure
        return SimpleNamespace(model=model)

    def remove(self, rgb: Image, *, session: Any, only_mask: bool) -> Image:
        assert only_mask
        assert session.model == "u2net"
        mask = np.zeros(rgb.shape[:2], np.uint8)
        mask[:, : rgb.shape[1] // 2] = 255
        return mask


def test_u2netp_is_the_default() -> None:
    assert load() is load("u2netp") is u2netp.remove


def test_an_unknown_engine_is_refused_with_the_known_names() -> None:
    with pytest.raises(RemoverUnavailable, match=r"'magic'.*rembg, u2netp"):
        load("magic")


def test_rembg_cuts_with_u2net_and_gives_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    rembg = FakeRembg()
    monkeypatch.setitem(sys.modules, "rembg", rembg)
    image = np.full((10, 20, 3), 90, np.uint8)

    cutout = load("rembg")(image)

    assert rembg.models == ["u2net"]
    assert cutout.rgba.shape == (10, 20, 4)
    assert cutout.rgba[5, 2].tolist() == [90, 90, 90, 255]
    assert cutout.rgba[5, 17, 3] == 0
    assert cutout.confidence is None
    assert cutout.level is None


def test_a_missing_rembg_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)

    with pytest.raises(RemoverUnavailable, match=r"\.\[rembg\]"):
        load("rembg")


def test_rembg_without_its_runtime_does_not_end_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exit_like_rembg(_: str) -> ModuleType:
        sys.exit(1)

    monkeypatch.setattr(importlib, "import_module", exit_like_rembg)

    with pytest.raises(RemoverUnavailable, match="onnxruntime"):
        load("rembg")


@pytest.mark.parametrize(
    "failure", [requests.exceptions.ConnectionError("offline"), ValueError("wrong hash")]
)
def test_a_model_that_cannot_be_had_says_which_file_to_put_where(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "rembg", FakeRembg(failure))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))

    with pytest.raises(RemoverUnavailable, match=r"put u2net\.onnx at") as raised:
        load("rembg")

    assert str(tmp_path / "models" / "u2net" / "u2net.onnx") in str(raised.value)
    assert raised.value.__cause__ is failure


@pytest.mark.parametrize(
    ("environment", "home"),
    [
        ({"U2NET_HOME": "/u", "REMBG_HOME": "/r", "XDG_DATA_HOME": "/x"}, "/u"),
        ({"REMBG_HOME": "/r", "XDG_DATA_HOME": "/x"}, "/r"),
        ({"XDG_DATA_HOME": "/x"}, "/x/rembg"),
        ({}, "/home/me/.rembg"),
    ],
)
def test_the_model_is_looked_for_where_rembg_does(
    environment: dict[str, str], home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in HOMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)

    assert rembg_model_file() == Path(home) / "models" / "u2net" / "u2net.onnx"

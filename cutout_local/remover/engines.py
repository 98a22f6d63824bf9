"""The engines by name. None is ever used in place of another."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from cutout_local.remover import u2netp
from cutout_local.remover.colour import estimate_foreground
from cutout_local.remover.errors import RemoverUnavailable
from cutout_local.remover.result import Cutout, Image, Remover
from cutout_local.remover.saliency import load_network

REMBG_MODEL = "u2net"  # named, since rembg's default is a model that is not free for all uses


def load(name: str = "u2netp") -> Remover:
    """Return an engine ready for use; raise `RemoverUnavailable` if it cannot run here."""
    try:
        loader = _LOADERS[name]
    except KeyError:
        known = ", ".join(sorted(_LOADERS))
        raise RemoverUnavailable(f"there is no remover {name!r}; known are: {known}") from None
    return loader()


def _load_u2netp() -> Remover:
    load_network()
    return u2netp.remove


def _load_rembg() -> Remover:
    rembg = _import_rembg()
    try:
        session = rembg.new_session(REMBG_MODEL)
    # requests' errors for a model that cannot be fetched are OSErrors; pooch raises
    # ValueError for a download that is not the expected file.
    except (OSError, ValueError) as error:
        raise RemoverUnavailable(
            f"rembg has no model file and could not fetch it: put {REMBG_MODEL}.onnx at "
            f"{rembg_model_file()}; the README tells where it is to be had besides GitHub"
        ) from error

    def remove(rgb: Image, /) -> Cutout:
        """Cut out with rembg's mask; the colours at soft edges are ours."""
        opacity: Image = rembg.remove(rgb, session=session, only_mask=True)
        colours = estimate_foreground(rgb, opacity.astype(np.float32) / 255)
        return Cutout(np.dstack([colours, opacity]))

    return remove


def _import_rembg() -> ModuleType:
    try:
        return importlib.import_module("rembg")
    except ImportError as error:
        raise RemoverUnavailable(
            "rembg is not installed: install the extra with .venv/bin/pip install -e '.[rembg]'"
        ) from error
    except SystemExit as error:  # rembg ends the process when it finds no onnxruntime
        raise RemoverUnavailable("rembg finds no onnxruntime: install 'rembg[cpu]'") from error


def rembg_model_file() -> Path:
    """Where rembg looks for the model (rembg 2.0.86, `BaseSession.model_dir`)."""
    data = os.environ.get("XDG_DATA_HOME")
    default = str(Path(data) / "rembg") if data else "~/.rembg"
    home = os.environ.get("U2NET_HOME") or os.environ.get("REMBG_HOME", default)
    return Path(home).expanduser() / "models" / REMBG_MODEL / f"{REMBG_MODEL}.onnx"


_LOADERS: dict[str, Callable[[], Remover]] = {
    "rembg": _load_rembg,
    "u2netp": _load_u2netp,
}

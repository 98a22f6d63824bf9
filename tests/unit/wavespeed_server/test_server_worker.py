import pickle
from io import BytesIO
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from cutout.wavespeed.contract import Timings
from cutout_local import remover
from cutout_local.wavespeed.errors import BadMedia, ExecutionFailed, ServerFailure, TaskFailure
from cutout_local.wavespeed.worker import EncodedCutout, Engine, cut_out, remover_engine


def to_png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def echo() -> Engine:
    return lambda data: EncodedCutout(data[::-1], confidence=0.5, level="low")


def test_an_image_goes_from_file_to_file_with_its_time_and_confidence(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"abc")
    outcome = cut_out(echo, source, target)
    assert target.read_bytes() == b"cba"
    assert (outcome.confidence, outcome.level) == (0.5, "low")
    assert outcome.inference_ms > 0


def test_the_remover_gives_a_png_of_the_same_size_with_its_confidence() -> None:
    photo = Image.fromarray(skimage.data.coffee()).resize((150, 100))  # type: ignore[no-untyped-call]
    image = remover_engine(15_000)(to_png(photo))
    with Image.open(BytesIO(image.png)) as png:
        assert (png.format, png.mode, png.size) == ("PNG", "RGBA", (150, 100))
    assert image.level in ("high", "medium", "low")


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b"no image", BadMedia),
        (to_png(Image.new("RGB", (101, 100))), BadMedia),
        (to_png(Image.new("RGB", (64, 64), "white")), ExecutionFailed),
    ],
)
def test_the_removers_errors_become_failures_of_the_task(
    data: bytes, failure: type[TaskFailure]
) -> None:
    with pytest.raises(failure):
        remover_engine(10_000)(data)


def test_a_remover_that_cannot_run_is_a_failure_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unavailable() -> None:
        raise remover.RemoverUnavailable("the model is not installed")

    monkeypatch.setattr(remover, "load_network", unavailable)

    with pytest.raises(ServerFailure, match="model is not installed"):
        remover_engine(10_000)


def test_failures_keep_their_kind_and_text_on_the_way_out_of_a_worker() -> None:
    failure = pickle.loads(pickle.dumps(BadMedia("the image cannot be read")))  # noqa: S301
    assert isinstance(failure, BadMedia)
    assert str(failure) == "the image cannot be read"


@pytest.mark.parametrize(("sent", "read"), [(12, 12), (12.6, 13), (None, 0)])
def test_inference_times_are_whole_milliseconds(sent: float | None, read: int) -> None:
    assert Timings.model_validate({"inference": sent}).inference == read

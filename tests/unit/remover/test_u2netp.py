import cv2
import numpy as np
import pytest
from skimage import data

from cutout_local.remover import NoSubject
from cutout_local.remover.result import Floats, Image, Mask
from cutout_local.remover.u2netp import remove
from tests.unit.remover.conftest import Scene


def iou(opacity: Image, alpha: Floats | Mask) -> float:
    found, wanted = opacity > 127, alpha > 0.5
    return float((found & wanted).sum() / (found | wanted).sum())


def level_of(image: Image) -> str | None:
    try:
        return remove(image).level
    except NoSubject:
        return "no subject"


def test_a_disc_before_a_gradient_is_cut_out(disc: Scene) -> None:
    cutout = remove(disc.rgb)

    opacity = cutout.rgba[..., 3]
    assert iou(opacity, disc.alpha) > 0.97
    assert np.abs(opacity / 255 - disc.alpha).mean() < 0.01
    assert np.array_equal(cutout.rgba[opacity == 255, :3], disc.rgb[opacity == 255])
    assert cutout.level == "high"


def test_the_same_image_gives_the_same_cutout(disc: Scene) -> None:
    small = np.ascontiguousarray(disc.rgb[::2, ::2])

    assert np.array_equal(remove(small).rgba, remove(small).rgba)


def test_the_sample_photo_comes_out_well() -> None:
    photo = data.coffee()  # type: ignore[no-untyped-call]

    cutout = remove(photo)

    opacity = cutout.rgba[..., 3]
    assert cutout.level in {"high", "medium"}
    assert cutout.confidence is not None
    assert cutout.confidence >= 0.7
    assert 0.3 < (opacity > 127).mean() < 0.6
    assert opacity[200, 300] == 255
    assert not opacity[:60, :60].any()
    assert not opacity[-40:, :40].any()


def test_a_frame_is_removed_with_the_background(disc: Scene) -> None:
    busy = disc.rgb + np.random.default_rng(2).normal(0, 25, disc.rgb.shape)
    image = np.clip(busy, 0, 255).astype(np.uint8)
    framed = np.pad(image, ((6, 6), (6, 6), (0, 0)), constant_values=250)

    opacity = remove(framed).rgba[..., 3]

    assert iou(opacity, np.pad(disc.alpha, 6)) > 0.97
    assert not opacity[:6].any()


@pytest.mark.parametrize("colour", [0, 255])
def test_a_letterboxed_photo_is_cut_out_without_its_bars_and_never_surely(
    disc: Scene, colour: int
) -> None:
    bars = ((40, 40), (0, 0), (0, 0))

    cutout = remove(np.pad(disc.rgb, bars, constant_values=colour))

    assert iou(cutout.rgba[..., 3], np.pad(disc.alpha, bars[:2])) > 0.97
    assert cutout.level == "medium"


def test_a_blank_image_between_bars_has_no_subject() -> None:
    wall = np.random.default_rng(3).normal(128, 4, (120, 240, 3)).astype(np.uint8)

    with pytest.raises(NoSubject):
        remove(np.pad(wall, ((30, 30), (0, 0), (0, 0))))


@pytest.mark.parametrize("shape", ["across", "down", "from the middle"])
def test_a_gradient_is_never_sure(shape: str) -> None:
    y, x = np.mgrid[:150, :200]
    light = {"across": x, "down": y, "from the middle": 255 - np.hypot(x - 100, y - 75)}[shape]

    image = np.repeat(light[..., None], 3, axis=2).astype(np.uint8)

    assert level_of(image) in {"low", "medium", "no subject"}


def painted(subject: Mask) -> Image:
    """A red, rough thing before a smooth backdrop."""
    y, x = np.mgrid[: subject.shape[0], : subject.shape[1]]
    rough = np.array([200.0, 70.0, 40.0]) + np.random.default_rng(3).normal(0, 15, (*x.shape, 1))
    backdrop = np.stack([60 + x / 8, 90 + y / 8, 150 + x / 16], axis=2)
    return np.where(subject[..., None], rough, backdrop).clip(0, 255).astype(np.uint8)


def test_the_hole_of_a_ring_is_background() -> None:
    y, x = np.mgrid[:150, :200]
    distance = np.hypot(x - 100, y - 75)
    ring = (distance < 60) & (distance > 30)

    assert iou(remove(painted(ring)).rgba[..., 3], ring) > 0.95


def test_the_hole_of_a_mugs_handle_is_background() -> None:
    mug = cv2.rectangle(np.zeros((150, 200), np.uint8), (60, 40), (120, 120), 1, cv2.FILLED)
    cv2.ellipse(mug, (120, 80), (30, 28), 0, 0, 360, 1, 7)

    opacity = remove(painted(mug > 0)).rgba[..., 3]

    assert iou(opacity, mug > 0) > 0.95
    assert opacity[80, 134] == 0


def test_a_grey_image_is_cut_out(disc: Scene) -> None:
    dark_disc = np.where(disc.alpha[..., None] > 0.5, disc.rgb // 3, disc.rgb)
    grey = dark_disc.mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)

    assert iou(remove(grey).rgba[..., 3], disc.alpha) > 0.95


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_has_no_subject(value: int) -> None:
    with pytest.raises(NoSubject):
        remove(np.full((60, 80, 3), value, np.uint8))


def test_noise_has_no_subject() -> None:
    with pytest.raises(NoSubject):
        remove(np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8))


def test_one_pixel_has_no_subject() -> None:
    with pytest.raises(NoSubject):
        remove(np.array([[[10, 200, 30]]], np.uint8))


@pytest.mark.parametrize("size", [(1, 2), (3, 3), (5, 7), (9, 20), (8, 3000), (3000, 3)])
def test_odd_sizes_keep_their_size_or_have_no_subject(size: tuple[int, int]) -> None:
    height, width = size
    y, x = np.mgrid[:height, :width]
    inside = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5) < 0.3
    image = np.where(inside[..., None], [220, 40, 30], [40, 80, 160]).astype(np.uint8)

    try:
        assert remove(image).rgba.shape == (height, width, 4)
    except NoSubject:
        assert min(size) < 9


def test_a_small_subject_in_a_long_image_is_kept() -> None:
    y, x = np.mgrid[:100, :1200]
    inside = np.hypot(x - 600, y - 50) < 30
    texture = np.random.default_rng(1).normal(0, 20, (100, 1200, 1))
    image = np.where(inside[..., None], [200, 60, 40], [60, 90, 160]) + texture

    opacity = remove(np.clip(image, 0, 255).astype(np.uint8)).rgba[..., 3]

    assert opacity[50, 600] == 255
    assert not opacity[:, :500].any()

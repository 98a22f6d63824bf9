import cv2
import numpy as np

from cutout_local.remover.result import Image, Mask
from cutout_local.remover.segmentation import clean, grabcut, seeds
from tests.unit.remover.conftest import Scene


def iou(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_seeds_follow_the_probability() -> None:
    labels = seeds(np.array([[0.0, 0.049, 0.05, 0.39, 0.4, 0.95, 0.96]]))

    expected = [cv2.GC_BGD] * 2 + [cv2.GC_PR_BGD] * 2 + [cv2.GC_PR_FGD] * 2 + [cv2.GC_FGD]
    assert labels[0].tolist() == expected


def sparse_seeds(disc: Scene) -> Image:
    """A small square surely inside, the border surely outside, the rest open."""
    labels = np.full(disc.alpha.shape, cv2.GC_PR_BGD, np.uint8)
    labels[:20] = labels[-20:] = labels[:, :20] = labels[:, -20:] = cv2.GC_BGD
    labels[90:150, 130:190] = cv2.GC_FGD
    return labels


def test_grabcut_finds_the_disc_from_a_few_seeds(disc: Scene) -> None:
    assert iou(grabcut(disc.rgb, sparse_seeds(disc)), disc.alpha > 0.5) > 0.95


def test_grabcut_is_the_same_every_time_and_leaves_the_seeds_alone(disc: Scene) -> None:
    labels = sparse_seeds(disc)

    first, second = (grabcut(disc.rgb, labels) for _ in range(2))

    assert np.array_equal(first, second)
    assert np.array_equal(labels, sparse_seeds(disc))


def test_too_few_seeds_come_back_as_they_are(disc: Scene) -> None:
    labels = np.zeros(disc.alpha.shape, np.uint8)
    labels[100, 100:120] = cv2.GC_FGD

    assert np.array_equal(grabcut(disc.rgb, labels), labels == cv2.GC_FGD)


def blob() -> Mask:
    mask = np.zeros((100, 100), bool)
    mask[20:80, 20:80] = True
    return mask


def test_specks_and_small_parts_are_dropped() -> None:
    mask = blob()
    mask[5, 5] = True
    mask[85:95, 85:95] = True

    assert np.array_equal(clean(mask), blob())


def test_a_large_second_part_stays() -> None:
    mask = blob()
    mask[20:80, 85:95] = True

    assert np.array_equal(clean(mask), mask)


def test_pinholes_are_filled_and_holes_stay() -> None:
    mask = blob()
    mask[30:33, 30:33] = False
    mask[50:60, 50:60] = False

    cleaned = clean(mask)

    assert cleaned[31, 31]
    assert not cleaned[55, 55]


def test_an_empty_and_a_full_mask_stay_what_they_are() -> None:
    assert not clean(np.zeros((50, 50), bool)).any()
    assert clean(np.ones((50, 50), bool)).all()

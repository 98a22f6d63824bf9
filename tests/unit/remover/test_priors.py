import numpy as np
import pytest
from skimage import data

from cutout_local.remover.priors import Face, body_prior, centre_prior, faces
from cutout_local.remover.result import Image

FACE = Face(x=80, y=40, width=40, height=40)


@pytest.fixture(name="portrait")
def portrait_of_an_astronaut() -> Image:
    return np.asarray(data.astronaut()[:400, :400])  # type: ignore[no-untyped-call]


def test_the_centre_prior_is_highest_near_the_middle() -> None:
    prior = centre_prior(100, 200)

    assert prior.argmax() == 52 * 200 + 100
    assert prior.max() == pytest.approx(1)
    assert prior[0, 0] < 0.2


def test_a_face_is_found(portrait: Image) -> None:
    [face] = faces(portrait)

    assert 180 < face.x + face.width / 2 < 260
    assert 80 < face.y + face.height / 2 < 160


def test_a_face_is_found_in_a_grey_photo(portrait: Image) -> None:
    grey = portrait.mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)

    assert faces(grey)


def test_a_blue_face_is_no_face(portrait: Image) -> None:
    assert faces(np.ascontiguousarray(portrait[..., ::-1])) == []


def test_the_body_lies_around_and_below_the_face() -> None:
    prior = body_prior(240, 200, [FACE])

    assert prior[60, 100] == pytest.approx(1, abs=0.01)
    assert prior[200, 100] == pytest.approx(1, abs=0.01)
    assert prior[200, 140] > 0.9
    assert prior[60, 150] < 0.01
    assert prior[:, :30].max() < 0.1


def test_the_body_is_symmetric() -> None:
    prior = body_prior(240, 201, [FACE])

    assert np.allclose(prior[:, 50:151], prior[:, 50:151][:, ::-1], atol=0.05)


def test_no_face_means_no_body() -> None:
    assert body_prior(50, 60, []).shape == (50, 60)
    assert not body_prior(50, 60, []).any()

import numpy as np

from cutout_local.remover.colour import HALO, STRIP, estimate_foreground
from tests.unit.remover.conftest import Scene


def test_soft_edges_lose_the_background_colour() -> None:
    red, blue = np.array([220.0, 40, 30]), np.array([20.0, 60, 230])
    alpha = np.tile(np.clip((70 - np.arange(120.0)) / 20, 0, 1), (80, 1))
    mixed = alpha[..., None] * red + (1 - alpha[..., None]) * blue
    soft = (alpha > 0.1) & (alpha < 0.9)

    colours = estimate_foreground(mixed.round().astype(np.uint8), alpha)

    before, after = (np.abs(c[soft] - red).mean() for c in (mixed, colours))
    assert after < before / 7


def test_opaque_pixels_keep_their_colour(disc: Scene) -> None:
    colours = estimate_foreground(disc.rgb, disc.alpha)

    assert np.array_equal(colours[disc.alpha == 1], disc.rgb[disc.alpha == 1])


def test_strips_leave_no_seams() -> None:
    random = np.random.default_rng(5)
    rgb = random.integers(0, 256, (STRIP + 300, 40, 3), dtype=np.uint8)
    alpha = random.random(rgb.shape[:2])

    whole = estimate_foreground(rgb, alpha)
    from_the_seam = estimate_foreground(rgb[STRIP - HALO :], alpha[STRIP - HALO :])[HALO:]
    to_the_seam = estimate_foreground(rgb[: STRIP + HALO], alpha[: STRIP + HALO])[:STRIP]

    assert np.abs(whole[STRIP:].astype(int) - from_the_seam).max() <= 1
    assert np.abs(whole[:STRIP].astype(int) - to_the_seam).max() <= 1

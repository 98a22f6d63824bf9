"""How far a mask can be trusted: how much of it the network is sure of.

As the stability score of Kirillov et al., "Segment Anything", ICCV 2023: the overlap of the
masks that a high and a low threshold give; here it counts too where GrabCut decided otherwise.
"""

from cutout_local.remover.result import Floats, Level, Mask

SURELY, POSSIBLY = 0.9, 0.1
HIGH, MEDIUM = 0.85, 0.70
FULL_ROW = 0.95


def confidence(mask: Mask, probability: Floats) -> float:
    """Return 0..1 for a mask (H, W) that is not empty; 0 if it leaves bars at most."""
    if _is_slab(mask) or _is_slab(mask.T):
        return 0.0
    surely, possibly = mask & (probability > SURELY), mask | (probability > POSSIBLY)
    return float(surely.sum() / possibly.sum())


def _is_slab(mask: Mask) -> bool:
    """Whether nearly every row that belongs to the mask does so from one side to the other."""
    covered = mask[mask.any(axis=1)].mean(axis=1)
    return bool((covered > FULL_ROW).mean() > FULL_ROW)


def level(score: float) -> Level:
    if score >= HIGH:
        return "high"
    return "medium" if score >= MEDIUM else "low"

"""A small campaign; `make chaos` is the large one."""

import pytest

from tests.chaos.__main__ import run_campaign
from tests.chaos.plan import make_plan


@pytest.mark.timeout(600)  # alone it takes a minute, but it suffers from all the others
def test_nothing_is_lost_or_paid_twice_when_everything_breaks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    findings = run_campaign(make_plan(16, seed=5))

    printed = capsys.readouterr().out
    assert findings == 0, printed
    assert printed.endswith("lost=0 billed_twice=0 wrong_image=0 stuck=0 paid_failed=0 leaked=0\n")
    assert "uploads=16 " in printed

"""What is mutated, and the tests that have to notice."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "cutout"

# By module. Only quick tests: what they do not catch, they have to learn.
MODULES = {
    "cutout.store.table": ["unit/store"],
    "cutout.store.ledger": [
        "unit/store/test_ledger.py",
        "unit/test_backfill.py",
        "unit/test_erase.py",
        "unit/test_reconcile.py",
        "unit/test_submit_ways.py",
        "unit/test_webhook.py",
    ],
    "cutout.store.governor": ["unit/store/test_governor.py"],
    "cutout.store.output_locks": ["unit/store/test_output_locks.py"],
    "cutout.close": ["unit/test_backstop.py", "unit/test_submit.py"],
    "cutout.submit": [
        "unit/test_submit.py",
        "unit/test_submit_pace.py",
        "unit/test_submit_ways.py",
        "unit/test_retry.py",
        "unit/test_convert.py",
        "unit/test_reuse.py",
        "unit/test_settle.py",
        "unit/test_backfill.py",
    ],
    "cutout.poll": [
        "unit/test_poll.py",
        "unit/test_reuse.py",
        "unit/test_convert.py",
        "unit/test_erase.py",
    ],
    "cutout.webhook": ["unit/test_webhook.py"],
    "cutout.wavespeed.client": [
        "unit/wavespeed/test_client.py",
        "unit/wavespeed/test_prices.py",
        "unit/test_vendor_texts.py",
        "contract/test_connections.py",
    ],
    "cutout.wavespeed.outputs": ["unit/wavespeed/test_outputs.py"],
}

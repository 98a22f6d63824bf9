"""Photos are uploaded, and followed to their PNGs."""

import json
from pathlib import Path
from typing import Any

import pytest

from cutout.domain.tasks import Status
from tests.support.harness import PipelineHarness
from tests.support.images import jpeg
from tests.unit.cli.conftest import (
    Cutout,
    FakeStack,
    Fates,
)


def test_photos_are_put_once(
    cutout: Cutout, fates: Fates, stack: FakeStack, tmp_path: Path
) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "cat.jpg").write_bytes(jpeg())

    first = cutout("put", "album", "--prefix", "in/", "--metadata", "cutout-sync=true")
    again = cutout("put", "album", "--prefix", "in/", "--metadata", "cutout-sync=true", "--json")
    other = cutout("put", "album", "--prefix", "in/")

    assert first.stdout == "album/cat.jpg -> in/cat.jpg  uploaded\n"
    assert json.loads(again.stdout)["uploaded"] is False
    assert other.stdout == "album/cat.jpg -> in/cat.jpg  uploaded\n"
    s3 = fates.harness.s3
    assert len(s3.list_object_versions(Bucket="uploads")["Versions"]) == 2
    assert s3.head_object(Bucket="uploads", Key="in/cat.jpg")["Metadata"] == {}


def test_photos_are_followed_to_their_pngs(
    cutout: Cutout, fates: Fates, stack: FakeStack, tmp_path: Path
) -> None:
    stack.asks_vendor = False
    fates.by_key = {"bad.jpg": (Status.REJECTED, "unsupported_format", "no image")}
    for name in ("cat.jpg", "bad.jpg"):
        (tmp_path / name).write_bytes(jpeg())

    done = cutout("put", "cat.jpg", "bad.jpg", "--out", "cut")

    assert done.exit_code == 1
    assert "done      cat.jpg -> cut/cat.png" in done.stdout
    assert "rejected  bad.jpg: no image (unsupported_format)" in done.stdout
    assert (tmp_path / "cut" / "cat.png").exists()


def test_uploads_into_a_bucket_without_versions_cannot_be_followed(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack, tmp_path: Path
) -> None:
    suspended: Any = {"Status": "Suspended"}
    harness.s3.put_bucket_versioning(Bucket="uploads", VersioningConfiguration=suspended)
    (tmp_path / "cat.jpg").write_bytes(jpeg())

    done = cutout("put", "cat.jpg", "--wait")

    assert done.exit_code == 1
    assert "keeps no versions" in done.stderr


@pytest.mark.parametrize("metadata", ["nothing", "=x", "name=ä"])
def test_metadata_that_s3_would_refuse_is_a_usage_error(
    cutout: Cutout, stack: FakeStack, tmp_path: Path, metadata: str
) -> None:
    (tmp_path / "cat.jpg").write_bytes(jpeg())

    assert cutout("put", "cat.jpg", "--metadata", metadata).exit_code == 2

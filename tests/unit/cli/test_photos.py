"""Which files are photos, and what their objects and PNGs are called."""

import os
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from cutout_cli.errors import PhotoNotFound, WouldOverwrite
from cutout_cli.photos import IMAGE_SUFFIXES, check_targets, find_photos
from cutout_cli.text import shown
from cutout_local.remover.decode import FORMATS


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_of_a_folder_images_are_taken_and_the_others_counted_by_kind(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a.JPG",
        "more/b.png",
        "c.jp2",
        "d.jp2",
        "e.heic",
        "notes.txt",
        ".DS_Store",
        "README",
    )

    found = find_photos([tmp_path])

    assert [(photo.key, photo.name) for photo in found.photos] == [
        ("a.JPG", "a.png"),
        ("e.heic", "e.png"),
        ("more/b.png", "more/b.png"),
    ]
    skipped = {".jp2": 2, ".txt": 1, "hidden": 1, "without a suffix": 1}
    assert found.skipped == Counter(skipped)


def test_a_suffix_is_an_images_if_pillow_and_the_remover_say_so() -> None:
    formats = Image.registered_extensions()

    assert {suffix for suffix in formats if formats[suffix] in FORMATS} == IMAGE_SUFFIXES


def test_a_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "photo.jp2")

    (photo,) = find_photos([tmp_path / "photo.jp2"], prefix="in/").photos
    assert (photo.key, photo.name) == ("in/photo.jp2", "photo.png")


def test_a_file_that_is_named_twice_is_one_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "album/x.jpg")
    monkeypatch.chdir(tmp_path)

    named = [Path("album"), Path("album/x.jpg"), Path("album/../album/x.jpg"), tmp_path / "album"]
    assert [photo.key for photo in find_photos(named).photos] == ["x.jpg"]


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "album/x.jpg")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read all

    with pytest.raises(PhotoNotFound, match=r"album/x\.jpg: permission denied"):
        find_photos([tmp_path / "album"])


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "one/x.jpg", "two/x.jpg", "two/x.webp")

    found = find_photos([tmp_path / "one", tmp_path / "two"]).photos
    assert [(photo.key, photo.name) for photo in found] == [
        ("x.jpg", "x.png"),
        ("x-2.jpg", "x-2.png"),
        ("x.webp", "x-3.png"),
    ]


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path, "a.jp2", "b.jp2", "c.txt")

    with pytest.raises(PhotoNotFound, match=r"no images in this folder, only 2 \.jp2, 1 \.txt"):
        find_photos([tmp_path])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotoNotFound, match=r"nowhere\.jpg: no such file or folder"):
        find_photos([tmp_path / "nowhere.jpg"])


def test_a_name_that_is_no_utf_8_makes_a_key_that_s3_takes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    touch(tmp_path, name)

    (photo,) = find_photos([tmp_path]).photos
    assert photo.key == "caf\\xe9.jpg"
    assert shown(name) == "caf\\udce9.jpg"


def test_a_link_to_a_photo_is_not_overwritten_either(tmp_path: Path) -> None:
    touch(tmp_path, "album/mine.png")
    (tmp_path / "out").symlink_to(tmp_path / "album")
    photos = find_photos([tmp_path / "album"]).photos

    with pytest.raises(WouldOverwrite, match="is one of the photos"):
        check_targets(photos, tmp_path / "out", force=True)


def test_only_some_of_many_existing_files_are_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"album/{n}.jpg" for n in "abcde"), *(f"out/{n}.png" for n in "abcde"))
    photos = find_photos([tmp_path / "album"]).photos

    with pytest.raises(WouldOverwrite, match=r"c\.png, \.\.\.: are there already; add --force"):
        check_targets(photos, tmp_path / "out", force=False)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a\nb", "a\\nb"), ("\x1b[31mred", "\\x1b[31mred"), ("köln 日本 😀.jpg", "köln 日本 😀.jpg")],
)
def test_a_name_is_one_line_of_text(name: str, text: str) -> None:
    assert shown(name) == text

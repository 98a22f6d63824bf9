import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutout.domain.errors import KeyTooLong
from cutout.domain.naming import OutputNaming, check_output_key, output_key


@pytest.mark.parametrize(
    ("key", "appended", "replaced"),
    [
        ("cat.jpg", "cat.jpg.png", "cat.png"),
        ("a/b.c/cat.JPEG", "a/b.c/cat.JPEG.png", "a/b.c/cat.png"),
        ("a/cat.png", "a/cat.png.png", "a/cat.png"),
        ("a.b/cat", "a.b/cat.png", "a.b/cat.png"),
        ("a/.jpg", "a/.jpg.png", "a/.jpg.png"),
        ("cat.tar.gz", "cat.tar.gz.png", "cat.tar.png"),
        ("up/a+b%20c ü.jpg", "up/a+b%20c ü.jpg.png", "up/a+b%20c ü.png"),
        ("//cat.jpg", "//cat.jpg.png", "//cat.png"),
        ("./../cat.jpg", "./../cat.jpg.png", "./../cat.png"),
        ("line\nbreak.jpg", "line\nbreak.jpg.png", "line\nbreak.png"),
    ],
)
def test_the_output_key_mirrors_the_input_key(key: str, appended: str, replaced: str) -> None:
    assert output_key(key, OutputNaming.APPEND) == appended
    assert output_key(key, OutputNaming.REPLACE) == replaced


def test_a_prefix_comes_first() -> None:
    assert output_key("a/cat.jpg", OutputNaming.APPEND, "done/") == "done/a/cat.jpg.png"


@given(st.text(min_size=1), st.text(min_size=1))
def test_appended_keys_never_collide(one: str, other: str) -> None:
    same = output_key(one, OutputNaming.APPEND) == output_key(other, OutputNaming.APPEND)
    assert same == (one == other)


@given(st.text(min_size=1))
def test_replacing_only_ever_shortens_the_last_part(key: str) -> None:
    replaced = output_key(key, OutputNaming.REPLACE).removesuffix(".png")
    assert key.startswith(replaced)
    assert replaced.count("/") == key.count("/")


def test_1024_bytes_are_allowed() -> None:
    check_output_key("ü" * 512)


def test_1025_bytes_are_too_many() -> None:
    with pytest.raises(KeyTooLong, match="1025 bytes"):
        check_output_key("ü" * 512 + "a")

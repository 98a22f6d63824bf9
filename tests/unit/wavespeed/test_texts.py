import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cutout.wavespeed.texts import MAX_CHARACTERS, scrubbed

KEY = "wsk-live-0123456789"
QUERY = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Security-Token=CANARY&X-Amz-Signature=CANARY"
URL = f"https://in.s3.eu-central-1.amazonaws.com/a/cat.jpg?{QUERY}"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("too dark", "too dark"),
        ("why? 50% of #3 is dark", "why? 50% of #3 is dark"),
        ("see https://wavespeed.ai/docs/errors", "see https://wavespeed.ai/docs/errors"),
        (f"cannot fetch {URL}", f"cannot fetch {URL.partition('?')[0]}?***"),
        (f'{{"url":"{URL}","why":"403"}}', f'{{"url":"{URL.partition("?")[0]}?***","why":"403"}}'),
        ("https://a.test/x#CANARY now", "https://a.test/x?*** now"),
        ("https://me:CANARY@a.test/x", "https://***@a.test/x"),
        ("https%3A%2F%2Fa.test%2Fx%3FX-Amz-Signature%3DCANARY", "https%3A%2F%2Fa.test%2Fx?***"),
        (r"https:\/\/a.test\/x?token=CANARY", r"https:\/\/a.test\/x?***"),
        (r"https:\/\/a.test\/x\u003ftoken=CANARY", r"https:\/\/a.test\/x?***"),
        ("x-amz-signature=CANARY is wrong", "?*** is wrong"),
        (f"{URL.partition('&')[0]}\n&X-Amz-Signature=CANARY", f"{URL.partition('?')[0]}?*** &?***"),
        (f"the key {KEY} is unknown", "the key *** is unknown"),
        (f"headers: Authorization: Bearer {KEY}", "headers: Authorization: Bearer ***"),
        ("Bearer CANARY", "Bearer ***"),
        (
            f"https://a.test/{'0a' * 16}-1-{'0b' * 16}: 502",
            f"https://a.test/{'0a' * 16}-1-***: 502",
        ),
        ("secret whsec_CANARY", "secret whsec_***"),
        ("two\r\nlines\tand\x00 a \x1b[31mbell\x07", "two lines and a [31mbell"),
        (f"{KEY[:6]}\u200b\x00{KEY[6:]}", "***"),
        ("\u202egnp.exe", "gnp.exe"),
        ("{% $states.context.Task.Token %}", "{% $states.context.Task.Token %}"),
        ("x" * 501, "x" * 499 + "…"),
        ("x" * 500, "x" * 500),
        ("", ""),
    ],
)
def test_a_vendors_text_is_shown_without_secrets(said: str, shown: str) -> None:
    assert scrubbed(said, KEY) == shown


@pytest.mark.parametrize(
    "long", ["://" * 400_000, "X-Amz-" * 200_000, "https://a?" * 100_000, "\x00" * 1_000_000]
)
def test_a_long_text_is_cut_in_linear_time(long: str) -> None:
    assert len(scrubbed(long, KEY)) <= MAX_CHARACTERS


@given(st.text(), st.text())
def test_whatever_stands_around_it_a_secret_is_not_shown(before: str, after: str) -> None:
    assume("CANARY" not in before + after)  # Hypothesis tries the words of this file, too
    assert KEY not in scrubbed(f"{before}{KEY}{after}", KEY)
    assert "CANARY" not in scrubbed(f"{before} {URL}{after}", KEY)


@given(st.text())
def test_a_shown_text_is_one_short_line(text: str) -> None:
    shown = scrubbed(text, KEY)
    assert len(shown) <= MAX_CHARACTERS
    assert len(shown.splitlines()) <= 1

"""What the vendor says in words, before it may reach the ledger, a log, a history or an event.

A vendor that cannot fetch an image may quote its presigned URL, one that refuses a request its
headers. Both are secrets, and no text is worth more than a few lines.
"""

import re

MAX_CHARACTERS = 500
_READ_CHARACTERS = 20_000  # more is not looked at: what is cut out may leave room for the rest
# Unicode's control and format characters: they forge lines in a log, and split a secret in two.
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
_WORD = re.compile(r'[^\s"<>]+')
_URL = re.compile(r"://|:\\/\\/|%3A%2F%2F", re.IGNORECASE)
_QUERY = re.compile(r"[?#]|%3F|%23|\\u003f", re.IGNORECASE)
_USER = re.compile(r"://[^\s/?#@]*@")
_SIGNED = re.compile(r"X-Amz-[\w-]+(=|%3D)", re.IGNORECASE)
_CALLBACK = re.compile(r"([0-9a-f]{32}-\d{1,9})-[0-9a-f]{32}")  # in the URL of a webhook
_TOKEN = re.compile(r"\b(bearer |whsec_)\S+", re.IGNORECASE)


def scrubbed(text: str, key: str = "") -> str:
    """A text without query strings of URLs, keys and control characters, in 500 characters.

    `key` is the one that the request was made with.
    """
    text = " ".join(_without_control(text[:_READ_CHARACTERS]).split())
    if key:
        text = text.replace(key, "***")
    text = _WORD.sub(lambda word: _without_query(word[0]), text)
    text = _CALLBACK.sub(r"\1-***", _TOKEN.sub(r"\1***", text))
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _without_control(text: str) -> str:
    return _CONTROL.sub(lambda found: " " if found[0].isspace() else "", text)


def _without_query(word: str) -> str:
    """A word without what follows a URL's path, or a parameter of a presigned URL's name."""
    secret = _SIGNED.search(word)
    if _URL.search(word):
        word = _USER.sub("://***@", word)
        secret = _QUERY.search(word) or _SIGNED.search(word)
    return word if secret is None else word[: secret.start()] + "?***"

"""The forms in which a secret that is known may occur in a text: as it is, escaped, quoted, encoded."""

from __future__ import annotations

from binascii import b2a_base64

from ._names import compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ENDINGS", "SHORTEST", "literals"]

SHORTEST = 6  # characters of a value from the environment, and of a form; shorter ones are words and figures
ENDINGS = r"\r\n|\n|\r"
_HEX = r"%.."
_HTML = "[<>&\u2028\u2029]"
# Commonest characters last: whether a rare one occurs at all is the cheapest question to ask.
_COMMON = "zqxjkvbwygfmpdculhrsnioate0123456789._-:/ "


def literals(secrets: Iterable[str]) -> list[tuple[str, str]]:
    """The forms in which the secrets may occur, longest first, each with its characters, rarest first."""
    forms: set[str] = set()
    for secret in secrets:
        lines = [line for line in compiled(ENDINGS).split(secret) if line.strip("* \t")]
        forms.update(lines if len(lines) < 2 else (line for line in lines if len(line) >= SHORTEST))
        forms.update(form for form in _forms(secret) if len(form) >= SHORTEST)
    return sorted(
        (("".join(sorted(set(form), key=_COMMON.find)), form) for form in forms),
        key=lambda pair: (-len(pair[1]), pair[1]),
    )


def _forms(secret: str) -> Iterator[str]:
    """How programs write `secret` in URLs, JSON, Python and base64, where this differs from itself."""
    raw = secret.encode("utf-8", "surrogateescape")
    if not (secret.isascii() and secret.isalnum()):
        for safe in (b"", b"/"):
            quoted = "".join(
                chr(b) if (chr(b).isalnum() and b < 128) or b in b"-._~" + safe else f"%{b:02X}" for b in raw
            )
            yield from (
                quoted,
                quoted.replace("%20", "+"),
                compiled(_HEX).sub(lambda match: match[0].lower(), quoted),
            )
        yield from (form for form in (*_json(secret), repr(secret)[1:-1]) if "\n" not in form)
    if not secret.isascii():
        yield raw.decode("utf-8", "backslashreplace")  # as the lines of a child are decoded
    for offset in range(3):  # the value may stand anywhere within what was encoded, as in "user:value"
        encoded = b2a_base64(b"\0" * offset + raw, newline=False).decode("ascii")
        inner = encoded[(0, 2, 3)[offset] : (offset + len(raw)) * 8 // 6]
        if len(inner) >= SHORTEST:
            yield from (inner, inner.replace("+", "-").replace("/", "_"))


def _json(secret: str) -> Iterator[str]:
    """As JSON writes it: Python, which escapes all that is not ASCII; PHP, slashes too; others; Go, for HTML."""
    from json import dumps

    escaped, short = dumps(secret)[1:-1], dumps(secret, ensure_ascii=False)[1:-1]
    yield from (escaped, escaped.replace("/", r"\/"), short)
    yield compiled(_HTML).sub(lambda match: f"\\u{ord(match[0]):04x}", short)

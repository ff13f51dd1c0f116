"""Takes secrets out of text: known values by what they are, unknown ones by where they stand."""

from __future__ import annotations

from bisect import bisect_right

from ._arguments import may_be_secret, redact_arguments
from ._finders import BARE, BEGIN_KEY, HEADER, NAME_CHARACTERS, NAME_REACH
from ._forms import ENDINGS, SHORTEST, literals
from ._names import compiled, sensitive_name
from ._secrets import find_spans, open_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ._finders import Span

__all__ = ["FAILED", "MASK", "Redactor", "sensitive_values"]

#: What stands in the place of a secret, whatever its length.
MASK = "***"
#: What stands in the place of a line that could not be redacted.
FAILED = "[redaction failed]"

_REACH = 4096  # characters of a line that are kept, or held back, to judge what follows
_HARMLESS = frozenset(
    ("default", "disabled", "enabled", "optional", "password", "required", "secret", "trust")
)
_CONTENT = r"[^\r\n]+"
# And all else that moves the cursor: they may stand amid a name. Other escape sequences hold text, which is searched.
_COLOURS = r"\x1b\[[0-?]*+[ -/]*+[@-~]"


def sensitive_values(env: Mapping[str, str]) -> frozenset[str]:
    """Return the values of those variables whose name says that they are secret.

    Args:
        env: An environment.

    Returns:
        The values of at least six characters, without figures and words that are plainly no secret.
    """
    return frozenset(
        value
        for name, value in env.items()
        if len(value) >= SHORTEST and sensitive_name(name) and value.lower() not in _HARMLESS
    )


class Redactor:
    """Masks secrets in lines, arguments, paths and error messages.

    Args:
        secrets: Values to mask wherever they occur, of any length; also quoted, escaped and in base64.
        filter: Applied to what has been redacted, for rules of your own. It must keep the line endings; if it
            raises or changes their number, the text is withheld.

    Raises:
        TypeError: `secrets` is one string, or holds something else than strings.
    """

    __slots__ = ("_child", "_filter", "_literals", "_secrets")

    def __init__(self, secrets: Iterable[str] = (), *, filter: Callable[[str], str] | None = None) -> None:
        if isinstance(secrets, str):
            raise TypeError("secrets must be a collection of strings, not one string: write [value]")
        self._secrets = frozenset(secrets)
        if not all(isinstance(secret, str) for secret in self._secrets):
            raise TypeError("secrets must be strings")
        self._filter = filter
        self._literals = literals(self._secrets)
        self._child: Redactor | None = None

    def including(self, secrets: Iterable[str]) -> Redactor:
        """Return a redactor that also knows `secrets`, for example those in the environment of a child.

        Returns:
            This redactor itself when there is nothing new.
        """
        union = self._secrets.union(secrets)
        if union == self._secrets:
            return self
        child = self._child
        if child is None or child._secrets != union:
            child = self._child = Redactor(union, filter=self._filter)  # kept: the next child has the same
        return child

    def text(self, text: str) -> str:
        r"""Redact any number of lines, ended by ``\n``, ``\r\n`` or ``\r``; all line endings stay."""
        return self.block(text, False)[0]

    def block(self, text: str, inside_key: bool) -> tuple[str, bool]:
        """Redact any number of whole lines of a stream in which a private key may go on from line to line.

        Args:
            text: The lines.
            inside_key: Whether a private key is still open from before.

        Returns:
            The redacted lines, and whether a private key is open at their end.
        """
        try:
            if inside_key:
                found = self._spans(f"{BEGIN_KEY}\n{text}")
                skip = len(BEGIN_KEY) + 1
            else:
                found, skip = self._spans(text), 0
                if not found:
                    return self._filtered(text), False
            redacted = _mask(text, [(start - skip, end - skip) for start, end, _ in found])
            is_open = any(reopen == BEGIN_KEY for _, _, reopen in found)
            return self._filtered(redacted), is_open
        except Exception:  # noqa: BLE001 - whatever went wrong, unredacted text must not get out
            return _withhold(text), inside_key or "PRIVATE KEY-----" in text

    def argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Redact a command line; of its first word only values that are known to be secret.

        Returns:
            As many words as there were.
        """
        try:
            if len(argv) == 1:
                return (self._known(argv[0]),)
            if self._filter is None:  # a filter may look at whole words
                joined = "\n".join(argv)
                if not (may_be_secret(argv, joined) or "\x1b" in joined or self._spans(joined)):
                    return tuple(argv)
            return tuple(redact_arguments(argv, self.text, self._known, MASK))
        except Exception:  # noqa: BLE001 - see block
            return (FAILED,) * len(argv)

    def release(self, text: str) -> int:
        """Tell how much of an unfinished line may be shown before the rest of it is there.

        Args:
            text: The line so far, raw; in front of it the context, if a part of it has been shown.

        Returns:
            Number of leading characters; the others, at most 4 KiB, may be the beginning of a secret.
        """
        tail = text[-_REACH:]
        held = max((_overlap(tail, literal) for _, literal in self._literals), default=0)
        at = open_end(tail)
        if at is not None:
            held = max(held, len(tail) - at)
        return len(text) - held

    def continuation(self, context: str, piece: str) -> str:
        """Redact `piece`, which goes on where the same line's text `context`, already shown, has stopped."""
        try:
            skip = len(context)
            found = [(start - skip, end - skip) for start, end, _ in self._spans(context + piece)]
            return self._filtered(_mask(piece, found))
        except Exception:  # noqa: BLE001 - see block
            return _withhold(piece)

    def context_after(self, context: str, piece: str) -> str:
        """Return what `continuation` must know about a line that has been shown up to the end of `piece`.

        Bounded, however long the line: a value that is still open is remembered by what it takes to open one.
        Start a line with ``""``, or with `BEGIN_KEY` inside of a private key; at the end of the line,
        ``block(context, False)[1]`` tells whether a private key is open.
        """
        text = context + piece
        try:
            still_open = [
                (reopen != BEGIN_KEY, not reopen.endswith(HEADER), reopen == BARE, start, reopen)
                for start, end, reopen in self._spans(text)
                if reopen and end == len(text)
            ]
        except Exception:  # noqa: BLE001 - nothing of this line can be trusted any more
            return HEADER
        if still_open:
            *_, start, reopen = min(still_open)  # what hides most
            if reopen == BEGIN_KEY or reopen.endswith(HEADER):
                return reopen
            return reopen + _name_at_end(text[start:], quotes=reopen == BARE)
        if len(text) <= _REACH:
            return text
        tail = text.rstrip(" \t")[-_REACH:] + " " * text.endswith((" ", "\t"))
        at = open_end(text)
        if at is not None and len(text) - at > _REACH:
            return "://x:" + tail
        return tail

    def _spans(self, text: str) -> list[Span]:
        bare = compiled(_COLOURS).sub("", text) if "\x1b" in text else text
        found = find_spans(bare)
        if self._literals:
            found += self._literal_spans(bare)
        if bare is text:
            return found
        return [*(_among_colours(text, len(bare), found) if found else ()), *self._literal_spans(text)]

    def _literal_spans(self, text: str) -> Iterator[Span]:
        for gates, literal in self._literals:
            for gate in gates:
                if gate not in text:
                    break
            else:
                at = text.find(literal)
                while at >= 0:
                    yield (at, at + len(literal), "")
                    at = text.find(literal, at + 1)

    def _known(self, text: str) -> str:
        found = [(start, end) for start, end, _ in self._literal_spans(text)]
        return self._filtered(_mask(text, found) if found else text)

    def _filtered(self, text: str) -> str:
        if self._filter is None:
            return text
        filtered = self._filter(text)
        if compiled(ENDINGS).findall(filtered) != compiled(ENDINGS).findall(text):
            return _withhold(text)
        return filtered


def _mask(text: str, found: Iterable[tuple[int, int]]) -> str:
    """Replace the spans, some of which may overlap or reach outside; line endings within them stay."""
    pieces: list[str] = []
    shown = 0
    merged: list[list[int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    for start, end in merged:
        secret = text[max(start, 0) : max(end, 0)]
        if secret:
            pieces += (
                text[shown : max(start, 0)],
                MASK if secret.isprintable() else compiled(_CONTENT).sub(MASK, secret),
            )
            shown = end
    pieces.append(text[shown:])
    return "".join(pieces)


def _among_colours(text: str, length: int, found: Iterable[Span]) -> Iterator[Span]:
    """Find spans again in `text` that were found in what is left of it without colours, which has this length."""
    places, shifts = [0], [0]
    for match in compiled(_COLOURS).finditer(text):
        places.append(match.start() - shifts[-1])
        shifts.append(shifts[-1] + len(match[0]))
    for start, end, reopen in found:
        begin = start + shifts[bisect_right(places, start) - 1]
        stop = end + shifts[bisect_right(places, end - 1) - 1]
        yield begin, len(text) if end == length else stop, reopen


def _name_at_end(value: str, *, quotes: bool) -> str:
    """What may be the name of another secret, at the end of a value that is cut there: it is still to be hidden.

    Args:
        value: The value so far.
        quotes: Whether a quote does not end it: then what is named may stand behind one (``name="password" value=``).
    """
    end = value[-NAME_REACH:]
    return end[len(end.rstrip(NAME_CHARACTERS + "=: \t" + "\"'" * quotes)) :]


def _withhold(text: str) -> str:
    return compiled(_CONTENT).sub(FAILED, text)


def _overlap(text: str, literal: str) -> int:
    """The length of the longest end of `text` that is a beginning of `literal`, but not all of it."""
    for length in range(min(len(text), len(literal) - 1), 0, -1):
        if text.endswith(literal[:length]):
            return length
    return 0

"""The SDK's limits, so that we cut before it does: it logs a warning for every value that it cuts."""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple


class Limits(NamedTuple):
    """What attributes may be.

    Attributes:
        length: Largest length of a value, in characters; None for no limit.
        attributes: Largest number of attributes; None for no limit.
    """

    length: int | None
    attributes: int | None

    def fit(self, attributes: dict[str, Any], others: int = 0) -> dict[str, Any]:
        """Return the first attributes that fit beside so many others."""
        if self.attributes is None or len(attributes) + others <= self.attributes:
            return attributes
        return dict(islice(attributes.items(), max(self.attributes - others, 0)))


def limits_of(instrument: object, kind: str, length: int | None) -> Limits:
    """Return the limits in force for a tracer or a logger.

    The API has no way to ask, so the SDK's object is looked at; where it has none that we know,
    only our own limit holds.

    Args:
        instrument: Tracer or logger.
        kind: ``"span"`` or ``"log_record"``.
        length: Our own limit on the length of a value.

    Returns:
        The smaller of each.
    """
    proxied = "_tracer" if kind == "span" else "_logger"
    real = getattr(instrument, proxied, instrument)
    found = getattr(real, f"_{kind}_limits", None)
    lengths = (length, getattr(found, f"max_{kind}_attribute_length", None))
    smallest = min((value for value in lengths if value is not None), default=None)
    return Limits(smallest, getattr(found, f"max_{kind}_attributes", None))

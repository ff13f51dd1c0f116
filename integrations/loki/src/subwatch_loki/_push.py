"""The only place that opens a socket: one POST of one body, and what the server said."""

from __future__ import annotations

import contextlib
import re
import ssl
import sys
import time
import warnings
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import requests.auth
import urllib3
from logging_loki.emitter import LokiEmitterV1  # type: ignore[import-untyped]

from subwatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from subwatch_loki._options import Options

__all__ = ["Answer", "Emitter"]

# Loki's longest useful answer lists ten refused entries and ends with their number.
MAX_ANSWER = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status; 0 when there was no answer.
        text: The body, or what went wrong, without credentials.
        retry_after: Seconds that the server asks to wait (RFC 9110 section 10.2.3), or None.
    """

    status: int
    text: str = ""
    retry_after: float | None = None


class _Bearer(requests.auth.AuthBase):
    """Bearer token (RFC 6750); as `auth`, so that a ``.netrc`` cannot replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Emitter(LokiEmitterV1):  # type: ignore[misc]
    """The emitter of python-logging-loki, with its session and authentication, for whole batches.

    Its `__call__` (one blocking request for each record, without a timeout) is not used.

    Args:
        options: Where to send to, as whom.

    Raises:
        subwatch.errors.ConfigError: The URL names a host that cannot be.
    """

    def __init__(self, options: Options) -> None:
        try:
            requests.Request("POST", options.url).prepare()
        except (requests.RequestException, ValueError):
            raise ConfigError(
                "loki: the URL names a host that cannot be; http://HOST:PORT is needed"
            ) from None
        auth: Any = None
        if options.username:
            auth = (options.username.encode(), (options.password or "").encode())  # as UTF-8 (RFC 7617)
        elif options.token:
            auth = _Bearer(options.token)
        super().__init__(options.url, None, auth)
        self._options = options
        self._sent = ""  # the credentials as they are sent

    def __repr__(self) -> str:
        return f"Emitter({self._options.shown!r})"

    @property
    def session(self) -> requests.Session:
        """The session, made at its first use in the sending thread."""
        fresh = self._session is None
        session: requests.Session = super().session
        if fresh:
            options = self._options
            session.headers["User-Agent"] = "subwatch-loki"
            session.headers.update(options.headers)
            if options.tenant:
                session.headers["X-Scope-OrgID"] = options.tenant
            # Plain: VictoriaLogs takes a type with a charset for protobuf.
            session.headers["Content-Type"] = "application/json"
            session.headers["Content-Encoding"] = "gzip"
            # Answers are short: one that is compressed could only be there to fill the memory.
            session.headers["Accept-Encoding"] = "identity"
            if options.verify is False:  # a warning for each request helps nobody who has said so
                message = f"Unverified HTTPS request is being made to host '{urlsplit(self.url).hostname}'"
                warnings.filterwarnings("ignore", re.escape(message))
            # Once, as it takes more time than sending; by the arguments, since the environment's CA bundle
            # would go before that of the session.
            self._request = session.prepare_request(requests.Request("POST", self.url))
            self._sent = str(self._request.headers.get("Authorization", "")).partition(" ")[2]
            self._settings = session.merge_environment_settings(
                self.url, dict(options.proxies or {}), True, options.verify, options.cert
            )
        return session

    def push(self, body: bytes) -> Answer:
        """Send a compressed body.

        Args:
            body: JSON, compressed with gzip.

        Returns:
            The server's answer; never raises for what the network or the server does.
        """
        try:
            session, request = self.session, self._request.copy()
            request.prepare_body(body, None)
            with (
                _quiet(),
                session.send(
                    request, timeout=self._options.timeout, allow_redirects=False, **self._settings
                ) as response,
            ):
                text = self._read(response)
                return Answer(response.status_code, self._scrub(text), _seconds(response.headers))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return Answer(0, self._scrub(_explain(error)))

    def _scrub(self, text: str) -> str:
        """Mask credentials, also those that come from a ``.netrc``."""
        return self._options.scrub(text.replace(self._sent, "***") if self._sent else text)

    def _read(self, response: requests.Response) -> str:
        """The body, as much as comes in time: a status is an answer even when the text never ends."""
        deadline = time.monotonic() + self._options.timeout[1]
        data = b""
        with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
            while len(data) < MAX_ANSWER and time.monotonic() < deadline:
                piece = response.raw.read1(MAX_ANSWER, decode_content=False)
                if not piece:
                    break
                data += piece
        return data.decode("utf-8", "replace").strip()

    def forked(self) -> None:
        """Forget the connection, which is the parent's."""
        self._session = None


def _quiet() -> contextlib.AbstractContextManager[object]:
    """No spans for our own requests, where OpenTelemetry's instrumentation is loaded."""
    utils = sys.modules.get("opentelemetry.instrumentation.utils")
    return utils.suppress_instrumentation() if utils else contextlib.nullcontext()


def _seconds(headers: Mapping[str, str]) -> float | None:
    """What ``Retry-After`` asks for: seconds, or a date, from which the answer's own date is taken."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    until = _moment(value)
    if until is None:
        return None
    now = _moment(headers.get("Date", ""))  # of the same clock
    return max(0.0, until - (time.time() if now is None else now))


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _explain(error: Exception) -> str:
    """The innermost cause, which says what happened; the outer ones repeat URLs and pools."""
    seen = error
    for _ in range(10):
        reason = getattr(seen, "reason", None)
        inner = reason if isinstance(reason, Exception) else seen.__cause__ or seen.__context__
        if not isinstance(inner, Exception):
            break
        seen = inner
    cure = ""
    if isinstance(seen, ssl.SSLCertVerificationError):
        cure = "; if its certificate is your own, pass verify= with the path of the CA's"
    return f"{type(error).__name__}: {seen}"[:500] + cure

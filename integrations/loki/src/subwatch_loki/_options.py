"""Where to send to, as whom, and how much to hold: checked once, before anything runs."""

from __future__ import annotations

import hashlib
import math
import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from subwatch.errors import ConfigError

__all__ = ["HIDDEN", "Options", "default_spool", "positive"]

NUMBERS = (
    "batch_bytes",
    "batch_seconds",
    "retry_min",
    "retry_max",
    "spool_bytes",
    "max_age",
    "max_line_bytes",
)
PUSH_PATH = "/loki/api/v1/push"
HIDDEN = "?..."  # stands for the query of a URL
# Characters that cannot be in a header, whoever made the credentials; nor can what is not Latin-1.
_CONTROL = {*map(chr, range(32)), "\x7f"}
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def default_spool() -> Path:
    """Where batches are kept by default: in the user's state directory (XDG Base Directory Specification)."""
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:
        raise ConfigError("loki: there is no home directory, say with spool= where the spool is") from None
    return Path(state) / "subwatch" / "loki.spool"


@dataclass(frozen=True)
class Options:
    """Options of the sender; see `subwatch_loki.LokiSink` for what they mean.

    Credentials are in no repr.
    """

    url: str = field(default="", repr=False)  # `shown` is for people
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tenant: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    timeout: tuple[float, float] = (3.05, 10.0)
    batch_bytes: int = 1024 * 1024
    batch_seconds: float = 1.0
    retry_min: float = 0.5
    retry_max: float = 30.0
    spool: Path | None = None
    spool_bytes: int = 256 * 1024 * 1024
    max_age: float = 7 * 86400.0
    max_line_bytes: int = 256 * 1024
    progress: float | bool = 10.0
    fields: bool | frozenset[str] = False

    @property
    def shown(self) -> str:
        """The URL for messages, without its query, in which gateways take credentials."""
        plain, mark, _ = self.url.partition("?")
        return f"{plain}{HIDDEN}" if mark else plain

    @property
    def target(self) -> str:
        """What tells one destination from another in a shared spool: the URL and the tenant."""
        query = self.url.partition("?")[2]
        place = self.shown + (hashlib.sha256(query.encode()).hexdigest()[:12] if query else "")
        return f"{self.tenant}@{place}" if self.tenant else place

    def scrub(self, text: str) -> str:
        """Mask every credential in a text that is to be shown."""
        basic = (
            b64encode(f"{self.username}:{self.password or ''}".encode()).decode() if self.username else None
        )
        query = self.url.partition("?")[2]
        # whole, and its values, without the short ones, which are words such as "main"
        asked = (query, *(value for _, value in parse_qsl(query) if len(value) > 5))
        for secret in (self.password, self.token, basic, *self.headers.values(), *asked):
            if secret and len(secret) > 2:
                text = text.replace(secret, "***")
        for proxy in (self.proxies or {}).values():
            userinfo = urlsplit(proxy).netloc.rpartition("@")[0]
            if userinfo:
                text = text.replace(userinfo, "***")
        return text

    @classmethod
    def build(
        cls,
        *,
        url: str | None = None,
        username: Any = None,
        password: Any = None,
        token: Any = None,
        tenant: Any = None,
        headers: Mapping[str, str] | None = None,
        proxies: Any = None,
        timeout: Any = (3.05, 10.0),
        spool: Any = None,
        progress: Any = 10.0,
        fields: Any = False,
        **others: object,
    ) -> Options:
        """Check options, fill what is missing from the environment, and take credentials out of the URL.

        Credentials that are given go before those of the URL, these before the environment's.

        Raises:
            subwatch.errors.ConfigError: An option cannot work; says which and what would.
        """
        plain, in_url = _push_url(url or os.environ.get("LOKI_URL"))
        username, password, token = _credentials(username, password, token, in_url)
        tenant = _text("tenant", tenant) or os.environ.get("LOKI_TENANT")
        if headers is not None and not isinstance(headers, Mapping):
            raise ConfigError(f"loki: headers must be a mapping, not {type(headers).__name__}")
        extra = {str(name): str(value) for name, value in (headers or {}).items()}
        _check_headers({"tenant": tenant, "token": token}, extra)
        _check_tls(others.get("verify", True), others.get("cert"))
        _check_kinds(proxies, spool, progress)
        path = default_spool() if spool is True else Path(spool) if spool else None
        options = cls(
            url=plain,
            username=username,
            password=password,
            token=token,
            tenant=tenant or None,
            headers=extra,
            proxies=proxies,
            timeout=_seconds(timeout),
            spool=path,
            progress=progress,
            fields=_names(fields),
            **others,  # type: ignore[arg-type]
        )
        for name in NUMBERS:
            positive(name, getattr(options, name))
        return options


def positive(name: str, value: object) -> None:
    """Check a number.

    Raises:
        ConfigError: It is none, or not greater than 0, or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigError(f"loki: {name} must be a number greater than 0, not {value!r}")


def _check_kinds(proxies: Any, spool: Any, progress: Any) -> None:
    if proxies is not None and not (
        isinstance(proxies, Mapping) and all(isinstance(each, str) for each in proxies.values())
    ):
        raise ConfigError('loki: proxies must be a mapping, such as {"https": "http://127.0.0.1:3128"}')
    if spool and not isinstance(spool, (bool, str, os.PathLike)):
        raise ConfigError(f"loki: spool must be the path of a file, or True, not {spool!r}")
    if not isinstance(progress, (int, float)) or not 0 <= progress < math.inf:
        raise ConfigError(f"loki: progress takes seconds, 0 or more, or True or False, not {progress!r}")


def _credentials(
    username: Any, password: Any, token: Any, in_url: tuple[str | None, str | None]
) -> tuple[str | None, str | None, str | None]:
    """Username, password and token: as they are given, else as the URL has them, else the environment."""
    username = _text("username", username) or in_url[0]
    password = _text("password", password) or in_url[1]
    token = _text("token", token)
    if not token:
        token = None if username else os.environ.get("LOKI_TOKEN")
        username = username or os.environ.get("LOKI_USERNAME")
        password = password or os.environ.get("LOKI_PASSWORD")
    if username and token:
        raise ConfigError("loki: give either a username with a password, or a token, not both")
    return username or None, password or None, token or None


def _seconds(timeout: Any) -> tuple[float, float]:
    """Seconds to connect, and between pieces of the answer, from one number or two."""
    connect, *read = timeout if isinstance(timeout, (tuple, list)) and timeout else (timeout,)
    if len(read) > 1:
        raise ConfigError(f"loki: timeout takes seconds, one number or two, not {timeout!r}")
    wait = connect, read[0] if read else connect
    for each in wait:
        positive("timeout", each)
    return wait


def _text(name: str, value: object) -> str | None:
    """A credential; the command line makes a number of one that has digits only."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
        raise ConfigError(f"loki: {name} must be text, not {type(value).__name__}")
    return None if value is None else str(value)


def _check_tls(verify: Any, cert: Any) -> None:
    if not isinstance(verify, bool) and not (isinstance(verify, (str, os.PathLike)) and str(verify)):
        # to requests all that is false, "" and None too, means not to verify
        raise ConfigError("loki: verify is True, or the path of a CA bundle, or False, and nothing else")
    for what, files in (("verify", verify), ("cert", cert)):
        for file in files if isinstance(files, tuple | list) else (files,):
            if not isinstance(file, (bool, str, os.PathLike, type(None))):
                raise ConfigError(f"loki: {what} must be the path of a file, not {type(file).__name__}")
            if isinstance(file, str) and not Path(file).exists():
                raise ConfigError(f"loki: {what} names a file that does not exist: {file}")


def _names(fields: Any) -> bool | frozenset[str]:
    if isinstance(fields, bool):
        return fields
    if not isinstance(fields, Sequence):
        raise ConfigError(f"loki: fields takes names, or True or False, not {fields!r}")
    return frozenset([fields] if isinstance(fields, str) else map(str, fields))


def _check_headers(known: Mapping[str, str | None], extra: Mapping[str, str]) -> None:
    """Refuse at once what would be refused at each push.

    Raises:
        ConfigError: A header has a name or a value that cannot be sent.
    """
    for name in extra:
        if not _HEADER.fullmatch(name):
            raise ConfigError(f"loki: headers has the name {name!r}, which no header can have")
    for what, value in {**known, **extra}.items():
        if value and not (_CONTROL.isdisjoint(value) and value == value.strip()):
            raise ConfigError(f"loki: {what} holds a line break, another control character, or outer blanks")
        try:
            (value or "").encode("latin-1")
        except UnicodeEncodeError:
            raise ConfigError(f"loki: {what} holds a character that no header can hold") from None


def _push_url(url: Any) -> tuple[str, tuple[str | None, str | None]]:
    """Complete a URL with the path of the push API; returns it without credentials, and the credentials."""
    if url is not None and not isinstance(url, str):
        raise ConfigError(f"loki: url must be text, not {type(url).__name__}")
    if not url:
        raise ConfigError("loki: no server: pass url=, or set LOKI_URL, for example to http://127.0.0.1:3100")
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ConfigError("loki: the URL cannot be read; http://HOST:PORT is needed") from None
    if parts.scheme not in ("http", "https") or not host:
        shown = f"{parts.scheme}:..." if parts.scheme else "a URL without a scheme"
        raise ConfigError(
            f"loki: the URL must begin with http:// or https:// and name a host, this is {shown}"
        )
    netloc = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/")
    if not path.endswith("/push"):
        path += PUSH_PATH
    plain = urlunsplit((parts.scheme, f"{netloc}:{port}" if port else netloc, path, parts.query, ""))
    user, word = parts.username, parts.password
    return plain, (unquote(user) if user else None, unquote(word) if word else None)

"""Which arguments of a command line are secret: by the option before them, their own name, or the program."""

from __future__ import annotations

from functools import partial

from ._names import compiled, may_be_named, sensitive_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["may_be_secret", "redact_arguments", "script_spans"]

_OPTION = r"(?:--?|/)([\w.-]+)\Z"
_ASSIGNED = r"(?s)((?:--?|/)?(?:[\w.-]+=)??([\w.-]+)[=:])(.+)\Z"
_ACCOUNT = r"\A[\w$#]+/(?=[^/])"
_FLAG = r"(?s)-[A-Za-z]|--[a-z][\w-]*(?:=.*)?"
_CONNECTION = (
    r"(?i)[\s;&](?:user ?(?:id|name)?|uid|host|hostaddr|server|data source|port|db|dbname|database"
    r"|initial catalog|ssl\w+|connect_timeout|application_name|options|service|endpointsuffix|encrypt)\s*="
)

# A word of a shell's script, or what ends a command of it; quotes are part of a word.
_SCRIPT = r"""(?s)(?:[^\s;|&()<>`'"\\]|\\.|'[^']*+'|"(?:[^"\\]|\\.)*+")++|[;|&()`\n]"""
_BETWEEN = ";|&()`\n"

# Options of one letter that take a secret, by program: as the next word, or joined to the letter.
_SEPARATE = {
    **dict.fromkeys(
        ("sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"), "-p"
    ),
    **dict.fromkeys(("redis-cli", "valkey-cli"), "-a"),
    **dict.fromkeys(("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldappasswd", "ldapwhoami"), "-w"),
    **dict.fromkeys(("zip", "unzip", "sqlcmd", "bcp", "mosquitto_pub", "mosquitto_sub", "ipmitool"), "-P"),
    **dict.fromkeys(("useradd", "usermod", "ncftp", "ncftpget", "ncftpput", "ncftpls"), "-p"),
}
_JOINED = {
    **_SEPARATE,
    **dict.fromkeys(
        (
            "mysql",
            "mysqldump",
            "mysqladmin",
            "mysqlimport",
            "mysqlcheck",
            "mysqlshow",
            "mysqlbinlog",
            "mysqlsh",
        ),
        "-p",
    ),
    **dict.fromkeys(("mariadb", "mariadb-dump", "mariadb-admin", "mariadb-import", "mariadb-check"), "-p"),
    **dict.fromkeys(("7z", "7za", "7zr", "7zz", "rar", "unrar"), "-p"),
    "xfreerdp": "/p:",
}
# ... only as the next word: joined to the letter stands something else.
_APART = {"az": ("-p",), "openssl": ("-k", "-K"), "twine": ("-p",)}
_LOGIN = frozenset(("docker", "podman", "buildah", "skopeo", "nerdctl", "helm", "oras", "crane"))
_USER_OPTIONS = {
    "curl": ("-u", "-U", "--user", "--proxy-user"),
    "http": ("-a", "--auth"),
    "https": ("-a", "--auth"),
    "lftp": ("-u", "--user"),
    "smbclient": ("-U", "--user"),
}
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "su"))
_ORACLE = frozenset(("sqlplus", "sqlldr", "expdp", "impdp"))  # take user/password@database
# What programs take without an option: words that stand before the secret, "*" for any, "$" for the name
# of a secret; options between do not count.
_OPERANDS = {
    program: [words.split() for words in before]
    for programs, before in (
        ("vault bao", ("login", "operator unseal")),
        ("rabbitmqctl", ("add_user *", "change_password *", "authenticate_user *")),
        ("wpa_passphrase", ("wpa_passphrase *",)),
        ("mc mcli", ("alias set * * *", "config host add * * *")),
        ("nmcli", ("password", "802-1x.password", "wifi-sec.psk", "802-11-wireless-security.psk")),
        ("aws git npm pip pnpm poetry yarn", ("set $", "config $")),
        ("mysqladmin mariadb-admin", ("password",)),
        ("redis-cli valkey-cli", ("auth", "AUTH")),
        ("echo printf", ("machine * login * password",)),
    )
    for program in programs.split()
}
_KUBERNETES = frozenset(("kubectl", "oc"))
_LITERAL = r"\A(?:--from-literal=)?[^=]+="
# Lines of ~/.pgpass and ~/.netrc, as scripts write them with echo.
_WRITTEN = (
    r"\A(?:(?![0-9a-f:]+\Z)[^\s:/]+:(?:[0-9]{2,5}|\*):[^\s:/]+:[^\s:/]+:(?=[^\s:]+\Z)"
    r"|machine\s+\S+\s+login\s+\S+\s+password\s+(?=\S))"
)
_PROGRAMS = (
    _JOINED.keys()
    | _APART.keys()
    | _LOGIN
    | _USER_OPTIONS.keys()
    | _SHELLS
    | _ORACLE
    | _OPERANDS.keys()
    | _KUBERNETES
    | {"htpasswd", "ssh", "scp"}
)
_STAYS = _PROGRAMS - {"sshpass"}
# `--password` of these takes no value: it asks.
_PROMPTING = r"psql|pg_\w+|(?:create|drop|vacuum|reindex|cluster)(?:db|user)|mysql\w*|mariadb[\w-]*"


def redact_arguments(
    argv: Sequence[str], text: Callable[[str], str], known: Callable[[str], str], mask: str
) -> Iterator[str]:
    """Yield the words of a command line redacted.

    Args:
        argv: The command line.
        text: Redacts what stands in a text.
        known: Masks only values that are known to be secret; for the program's own name.
        mask: What stands in the place of a secret.
    """
    for index, (word, (prefix, script)) in enumerate(zip(argv, _judged(argv), strict=True)):
        if index == 0:
            yield known(word)
        elif prefix is not None:
            yield text(prefix) + mask
        else:
            yield text(_script(word, mask) if script else word)


def may_be_secret(argv: Sequence[str], joined: str) -> bool:
    """Whether a word may be secret by what stands before it or by its own name; quick to tell that none is.

    Args:
        argv: The command line.
        joined: Its words in one text.
    """
    return may_be_named(joined) or not _PROGRAMS.isdisjoint([word.rpartition("/")[2] for word in argv])


def _judged(argv: Sequence[str]) -> Iterator[tuple[str | None, bool]]:
    """Tell of each word how it begins before its secret (None if there is none), and whether it may be a script."""
    before = ""
    programs: list[str] = []
    operands: list[str] = []
    for index, word in enumerate(argv):
        name = word.rpartition("/")[2]
        if index == 0:
            programs = [name]
            yield None, False
        else:
            if name in _PROGRAMS and name not in programs:
                # run by sudo, env, sshpass ...; or a user or database is called so: then the first still counts
                programs = [name, *(other for other in programs if other in _STAYS)]
            parts = (_public_part(program, operands, before, word) for program in programs)
            prefix = next((part for part in parts if part is not None), None)
            if prefix is None and "htpasswd" in programs and index == len(argv) - 1 and _batch(argv):
                prefix = ""
            yield prefix, not (_SHELLS | {"ssh"}).isdisjoint(programs)
        before = word
        if word[:1] != "-":
            operands.append(name)


def script_spans(script: str) -> Iterator[tuple[int, int]]:
    """Find the secrets in the commands of a script for a shell: what stands where an argument would be secret."""
    command: list[tuple[int, str]] = []
    for match in (*compiled(_SCRIPT).finditer(script), None):
        if match is not None and match[0] not in _BETWEEN:
            command.append((match.start(), match[0]))
            continue
        words = [word.strip("'\"") for _, word in command]
        for (start, word), bare, (prefix, _) in zip(command, words, _judged(words), strict=True):
            if prefix is not None:
                begin = start + word.index(bare)
                yield begin + len(prefix), begin + len(bare)
        command = []


def _script(script: str, mask: str) -> str:
    pieces: list[str] = []
    shown = 0
    for start, end in script_spans(script):
        pieces += (script[shown:start], mask)
        shown = end
    return "".join((*pieces, script[shown:]))


def _public_part(program: str, operands: Sequence[str], before: str, word: str) -> str | None:
    """How `word` begins before its secret, which goes on to the end of the word; None if there is none."""
    if before == _SEPARATE.get(program) or before in _APART.get(program, ()):
        return ""
    login = program in _LOGIN and "login" in operands
    if login and before == "-p":
        return ""
    if (known := _by_place(program, operands, before, word)) is not None:
        return known
    option = compiled(_OPTION).match(before)
    if option is not None and sensitive_name(option[1]) and not compiled(_FLAG).fullmatch(word):
        if program == "openssl":  # pass:VALUE, but also file:PATH, env:NAME, stdin
            return "pass:" if word.startswith("pass:") else None
        if not (before == "--password" and compiled(_PROMPTING).fullmatch(program)):
            return ""
    joined = _JOINED.get(program) or ("-p" if login else None)
    if joined is not None and len(word) > 2 and word.startswith(joined):
        return joined
    users = _USER_OPTIONS.get(program, ())
    if before in users:
        return _user(word)
    for user in users:
        if word.startswith(user) and len(word) > len(user) and (user[1] != "-" or word[len(user)] == "="):
            return _user(word)
    assigned = compiled(_ASSIGNED).match(word)
    if assigned is not None and sensitive_name(assigned[2]):
        script = program in _SHELLS and before.startswith("-") and before.endswith("c")
        if not script and not compiled(_CONNECTION).search(assigned[3]):
            return assigned[1]
    return None


def _by_place(program: str, operands: Sequence[str], before: str, word: str) -> str | None:
    """The same, of words that are secret for the words before them, or for their own form."""
    if program in _ORACLE and (account := compiled(_ACCOUNT).match(word)):
        return account[0]
    if word[:1] != "-" and any(map(partial(_agree, operands), _OPERANDS.get(program, ()))):
        # what is logged in with may have a name, by which it is judged
        return None if "login" in operands and "=" in word.rstrip("=") else ""
    if program in _KUBERNETES and "--from-literal" in (before, word[:14]) and "secret" in operands:
        literal = compiled(_LITERAL).match(word)
        return literal[0] if literal else None
    if program == "curl" and "=" in word and "-b" in (before, word[:2]):
        return "" if before == "-b" else "-b"
    if program in ("echo", "printf") and (line := compiled(_WRITTEN).match(word)):
        return line[0]
    return None


def _agree(operands: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether the last operands are those that stand before a secret."""
    last = operands[-len(wanted) :]
    return len(last) == len(wanted) and all(
        a in ("*", b) or (a == "$" and sensitive_name(b)) for a, b in zip(wanted, last, strict=True)
    )


def _user(word: str) -> str | None:
    """What stands before the password in ``user:password``, ``user%password`` or ``user,password``."""
    at = min((word.find(mark) for mark in ":%," if mark in word), default=-1)
    return word[: at + 1] or None


def _batch(argv: Sequence[str]) -> bool:
    return any(word.startswith("-") and "b" in word for word in argv)

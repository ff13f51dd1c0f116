"""Properties of redaction: what is known to be secret, in whatever form, and what stands in a command line."""

from __future__ import annotations

import base64
import json
import urllib.parse

from hypothesis import assume, example, given
from hypothesis import strategies as st

from subwatch._pieces import Pieces
from subwatch.processors import Pipeline, Redactor
from subwatch.processors.redact import FAILED
from subwatch.records import PARTIAL

#: Without line endings, which divide a secret, and without what redaction itself writes.
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n*")
SECRETS = st.text(st.sampled_from("aZ09 /+\"'\\<>&%:@=é☃\U0001f600\t-_") | LETTERS, min_size=6, max_size=24)
BESIDE = st.text(st.sampled_from("aZ0 =:\"'\\/@\n\r<{[é-_") | LETTERS, max_size=12)


def in_base64(secret, before, after):
    """What of a secret stands in base64, wherever it stood in what was encoded."""
    raw = secret.encode()
    shown = base64.b64encode(before + raw + after).decode()
    start, end = len(before) * 8, (len(before) + len(raw)) * 8
    return shown[-(-start // 6) : end // 6]


def as_php(secret):
    return json.dumps(secret)[1:-1].replace("/", r"\/")


def as_go(secret):
    text = json.dumps(secret, ensure_ascii=False)[1:-1]
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


FORMS = {
    "itself": str,
    "json": lambda secret: json.dumps(secret)[1:-1],
    "json of other languages": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "json of go": as_go,
    "json of php": as_php,
    "python": lambda secret: repr(secret)[1:-1],
    "url": urllib.parse.quote,
    "url, all of it": lambda secret: urllib.parse.quote(secret, safe=""),
    "form": urllib.parse.quote_plus,
    "base64": lambda secret: in_base64(secret, b"", b""),
    "base64 of user and password": lambda secret: in_base64(secret, b"user:", b"@"),
    "base64 at another place": lambda secret: in_base64(secret, b"me:", b"\n"),
    "base64 for urls": lambda secret: in_base64(secret, b"", b"").translate(str.maketrans("+/", "-_")),
}


@given(st.sampled_from(sorted(FORMS)), SECRETS, BESIDE, BESIDE, st.lists(st.integers(0, 80), max_size=4))
@example("json of other languages", 'p\u00e4"ssword', "", "", [])
@example("json of go", "pass<word", "", "", [])
@example("json of php", "pass/word", "", "", [])
@example("json", "p\u00e4ssword", "", "", [])
@example("base64 of user and password", "hunter2hunter2", "", "", [])
@example("url", "p\u00e4ssword", "", "", [])
def test_what_is_known_is_seen_in_no_form(name, secret, before, after, cuts):
    """Neither in a whole line nor in all pieces of one side by side."""
    form = FORMS[name](secret)
    assume(len(form) >= 6)
    redactor = Redactor([secret])
    assert form not in redactor.text(before + form + after)
    pieces, shown, start = Pieces(Pipeline(redactor), 1 << 16), "", 0
    data = (before.replace("\n", " ").replace("\r", " ") + form).encode()
    for cut in sorted(cut % (len(data) + 1) for cut in cuts):
        shown += pieces.piece(data[start:cut], "", PARTIAL)[0]
        start = cut
    shown += pieces.piece(data[start:], "\n", 0)[0]
    assert form not in shown
    assert FAILED not in shown


SECRET = "Zq7XvKw9QjZ3YxBd"
#: Words of a command line before a secret, and the secret in the word that follows.
COMMANDS = st.sampled_from(
    [
        (["mysql", "-u", "root"], "-p{}"),
        (["mysqldump"], "--password={}"),
        (["curl", "-s"], "--user=me:{}"),
        (["curl", "-u"], "me:{}"),
        (["curl"], "-ume:{}"),
        (["curl", "-H"], "Authorization: Bearer {}"),
        (["curl"], "https://me:{}@host/path?x=y"),
        (["docker", "login", "-u", "me", "-p"], "{}"),
        (["sshpass", "-p"], "{}"),
        (["sshpass"], "-p{}"),
        (["redis-cli", "-a"], "{}"),
        (["7z", "a"], "-p{}"),
        (["openssl", "enc", "-passin"], "pass:{}"),
        (["program", "--password"], "{}"),
        (["program", "--db-password"], "{}"),
        (["program", "--api-key"], "{}"),
        (["program", "--token"], "{}"),
        (["program"], "--client-secret={}"),
        (["program"], "-Dspring.datasource.password={}"),
        (["psql"], "host=h user=u password={} dbname=d"),
        (["psql"], "postgresql://u:{}@h/d"),
        (["env"], "PGPASSWORD={}"),
        (["vault", "login"], "{}"),
        (["curl", "-b"], "a={}"),
        (["kubectl", "create", "secret", "generic", "x"], "--from-literal=foo={}"),
        (["keytool", "-storepass"], "{}"),
        (["sh", "-c"], "PGPASSWORD={} pg_dump -h host"),
        (["sh", "-c"], "mysql --password={} < dump"),
        (["sh", "-c"], "cd /x && mysql -p{} < dump"),
        (["bash", "-c"], "curl -u 'me:{}' url; program --token x"),
        (["program"], "ghp_{}abcdefghijklmnopqrst"),
        (["program"], '{{"token": "{}"}}'),
    ]
)
#: What else may stand in a command line and takes no secret: it must not hide what does.
OTHERS = st.lists(
    st.sampled_from(
        ["a", "-v", "--", "-", "x=y", "--config=/etc/x", "/run/secrets/token", "é", "\n", "", "'", "-xvf", "--no-password"]
    )
    | st.text(max_size=4).filter(lambda word: not word.startswith("-")),
    max_size=4,
)  # fmt: skip
WRAPPERS = st.sampled_from([[], ["sudo"], ["/usr/bin/env", "A=b"], ["nice", "-n", "5"], ["timeout", "5"]])


SIGNS = "x host passwort PWD jwt sas \u017fig to\u212aen k login mysql sh vault AKIA eyJ glpat- ghp_ Bearer AGE-SECRET-KEY-1".split()
WORDS = st.lists(
    st.tuples(
        st.sampled_from(
            ["", "-", "--", "/", "$ ", "+ ", "{", "https://u", "a@b:1:c:d:", "<", "'", '"', "\x1b[1m", "\r"]
        ),
        st.sampled_from([*SIGNS, "-----BEGIN PRIVATE KEY-----"]),
        st.sampled_from(["", "=", ":", ": ", "://", "%3D", "\n", " is ", "/", ">", '":"', "@h"]),
        st.sampled_from(
            ["", "1", "hunter2", "a" * 40, "A1b2" * 9, "'", "@h/x", "\n-----END PRIVATE KEY-----"]
        ),
    ).map("".join)
    | st.text(max_size=6),
    max_size=6,
)


@given(WORDS)
def test_a_command_line_is_redacted_the_same_when_it_is_looked_at_as_a_whole_first(argv):
    word_by_word = Redactor(["hunter2"], filter=lambda word: word)
    assert Redactor(["hunter2"]).argv(argv) == word_by_word.argv(argv)


@example([], (["mysql"], "-p{}"), ["curl"], [])
@given(WRAPPERS, COMMANDS, OTHERS, OTHERS)
def test_no_secret_is_seen_in_a_command_line(wrapper, command, between, after):
    before, word = command
    program, *options = before
    argv = [*wrapper, program, *between, *options, word.format(SECRET), *after]
    shown = Redactor().argv(argv)
    assert len(shown) == len(argv)
    assert FAILED not in shown
    for at in range(len(SECRET) - 5):
        assert all(SECRET[at : at + 6] not in word for word in shown)
    if wrapper:  # what is no secret stays
        assert shown[: len(wrapper)] == tuple(wrapper)
    assert shown[len(wrapper)] == program

"""The conformance server answers as a real Loki 3.7.6 does: the recorded table, row by row.

Rows that hold for default limits run against the server of SUBWATCH_TEST_LOKI_URL when that is set.
"""

from __future__ import annotations

import gzip
import json
import time
import zlib

import pytest

PUSH = "/loki/api/v1/push"
JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}
HOUR = 3600 * 10**9
DAY = 24 * HOUR


# Limits other than the defaults would give other answers.
pytestmark = pytest.mark.usefixtures("default_limits")


def now():
    return time.time_ns()


def push(loki, body, headers=JSON, method=None):
    status, text = loki.request(PUSH, body, headers, method)
    return status, text.decode()


def push_streams(loki, *streams):
    """Push (labels, values) pairs; the test's own label is added."""
    data = [{"stream": {"test": loki.label, **labels}, "values": values} for labels, values in streams]
    return push(loki, json.dumps({"streams": data}).encode())


def push_values(loki, *values, **labels):
    return push_streams(loki, (labels, list(values)))


def lines(loki, count=None):
    return [line for _, line, _, _ in loki.entries(count=count)]


def body(loki, line="x"):
    document = {"streams": [{"stream": {"test": loki.label}, "values": [[str(now()), line]]}]}
    return json.dumps(document).encode()


# -- a small writer of protobuf and snappy -------------------------------------------------------------------


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def protobuf(labels, line, stamp=None, metadata=()):
    stamp = stamp or now()
    moment = varint(1 << 3) + varint(stamp // 10**9) + varint(2 << 3) + varint(stamp % 10**9)
    entry = field(1, moment) + field(2, line.encode())
    for name, value in metadata:
        entry += field(3, field(1, name.encode()) + field(2, value.encode()))
    return field(1, field(1, labels.encode()) + field(2, entry))


def snappy(data):
    """A valid snappy block of literals only."""
    out = varint(len(data))
    for at in range(0, len(data), 60):
        piece = data[at : at + 60]
        out += bytes([len(piece) - 1 << 2]) + piece
    return out


# -- what comes in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_json(loki, kind):
    assert push(loki, body(loki), {"Content-Type": kind}) == (204, "")
    assert lines(loki, 1) == ["x"]


def test_gzip(loki):
    assert push(loki, gzip.compress(body(loki)), {**JSON, "Content-Encoding": "gzip"})[0] == 204
    assert lines(loki, 1) == ["x"]


def test_raw_deflate_is_taken_and_zlib_deflate_is_not(loki):
    headers = {**JSON, "Content-Encoding": "deflate"}
    pack = zlib.compressobj(wbits=-15)
    assert push(loki, pack.compress(body(loki)) + pack.flush(), headers)[0] == 204
    assert push(loki, zlib.compress(body(loki)), headers)[0] == 400


@pytest.mark.parametrize("encoding", ["zstd", "br", "identity"])
def test_other_encodings(loki, encoding):
    status, text = push(loki, body(loki), {**JSON, "Content-Encoding": encoding})
    assert status == 400
    assert f'Content-Encoding "{encoding}" not supported' in text


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "snappy"}])
def test_protobuf_in_a_snappy_block(loki, headers):
    data = snappy(protobuf(f'{{test="{loki.label}"}}', "as protobuf", metadata=[("pid", "7")]))
    assert push(loki, data, {**PROTOBUF, **headers})[0] == 204
    ((_, line, metadata, _),) = loki.entries(count=1)
    assert (line, metadata["pid"]) == ("as protobuf", "7")


def test_protobuf_in_snappy_in_gzip(loki):
    data = gzip.compress(snappy(protobuf(f'{{test="{loki.label}"}}', "x")))
    assert push(loki, data, {**PROTOBUF, "Content-Encoding": "gzip"})[0] == 204


def test_snappy_with_back_references(lokiserver):
    # "abcdabcdabcdabcd": a literal, then a copy of 12 bytes from 4 back, as the format description has it.
    assert lokiserver.unsnappy(b"\x10\x0cabcd\x2e\x04\x00") == b"abcd" * 4


@pytest.mark.parametrize("what", ["uncompressed", "framed", "json"])
def test_what_is_no_snappy_block(loki, what):
    message = protobuf(f'{{test="{loki.label}"}}', "x")
    data = {"uncompressed": message, "framed": b"\xff\x06\x00\x00sNaPpY" + message, "json": body(loki)}[what]
    status, text = push(loki, data, {"Content-Type": "text/plain"} if what == "json" else PROTOBUF)
    assert status == 400
    assert "snappy: corrupt input" in text


def test_no_content_type(loki):
    # urllib adds a type of its own.
    import http.client
    from urllib.parse import urlsplit

    connection = http.client.HTTPConnection(urlsplit(loki.url).netloc)
    headers = {"X-Scope-OrgID": loki.tenant} if loki.tenant else {}
    connection.request("POST", PUSH, body(loki), headers)
    response = connection.getresponse()
    assert (response.status, "mime: no media type" in response.read().decode()) == (400, True)
    connection.close()


@pytest.mark.parametrize("text", ["{}", '{"streams": []}'])
def test_no_streams(loki, text):
    status, text = push(loki, text.encode())
    assert status == 422
    assert "error at least one valid stream is required for ingestion" in text


def test_shapes_that_are_taken(loki):
    label = json.dumps({"test": loki.label})
    assert push_values(loki)[0] == 204
    assert (
        push(
            loki, f'{{"more": 1, "streams": [{{"stream": {label}, "values": [["{now()}", "a"]]}}]}}'.encode()
        )[0]
        == 204
    )
    assert push(loki, body(loki, "b") + b" trailing garbage")[0] == 204
    assert push_values(loki, [str(now())])[0] == 204
    assert push_values(loki, [str(now()), "c", {}, "fourth"])[0] == 204
    assert sorted(lines(loki, 4)) == ["", "a", "b", "c"]


@pytest.mark.parametrize("stamp", [now(), 1.5, "2026-11-22T10:00:00Z"], ids=["number", "float", "text"])
def test_times_are_strings_of_nanoseconds(loki, stamp):
    assert push_values(loki, [stamp, "x"])[0] == 400
    assert lines(loki) == []


def test_old_and_new_entries_are_refused_and_counted(loki):
    values = [[str(now() - 8 * DAY), "old"], [str(now() + HOUR), "new"], [str(now()), "good"]]
    status, text = push_values(loki, *values)
    assert status == 400
    assert "has timestamp too old: " in text
    assert "has timestamp too new: " in text
    assert text.count("1 errors like: ") == 2
    assert lines(loki, 1) == ["good"]


def test_out_of_order(loki):
    stamp = now()
    assert push_values(loki, [str(stamp), "newest"])[0] == 204
    assert push_values(loki, [str(stamp - HOUR // 2), "half an hour behind"])[0] == 204
    status, text = push_values(loki, [str(stamp - 2 * HOUR), "too far"], [str(stamp - 1), "good"])
    assert status == 400
    assert "entry too far behind" in text
    assert "total ignored: 1 out of 2" in text
    assert lines(loki, 3) == ["half an hour behind", "good", "newest"]


# -- labels --------------------------------------------------------------------------------------------------


def test_no_labels(loki):
    assert (
        push(loki, json.dumps({"streams": [{"stream": {}, "values": [[str(now()), "x"]]}]}).encode())[0]
        == 204
    )


@pytest.mark.parametrize("name", ["a-b", "a.b", "1a", "é", ""])
def test_bad_label_names_cost_the_whole_request(loki, name):
    good = ({}, [[str(now()), "good"]])
    status, text = push_streams(loki, good, ({name: "x"}, [[str(now()), "x"]]))
    assert status == 400
    assert "couldn't parse labels" in text
    assert lines(loki) == []


@pytest.mark.parametrize(
    ("value", "stored"),
    [('é "q"\n', 'é "q"\n'), ("\0", "\0"), (1, "1"), (None, "null"), ("", None)],
)
def test_label_values(loki, value, stored):
    assert push_values(loki, [str(now()), "x"], other=value)[0] == 204
    ((_, _, _, labels),) = loki.entries(count=1)
    assert labels.get("other") == stored


def test_lone_surrogates_and_bad_utf8(loki):
    assert push_values(loki, [str(now()), "\ud800"])[0] == 400
    assert push_values(loki, [str(now()), "x"], other="\ud800")[0] == 400
    assert push(loki, body(loki, "#").replace(b"#", b"\xff"))[0] == 204
    assert lines(loki, 1) == ["\ufffd"]


def test_number_of_labels(loki):
    assert push_values(loki, [str(now()), "x"], **{f"l{n}": "v" for n in range(14)})[0] == 204
    status, text = push_values(loki, [str(now()), "x"], **{f"l{n}": "v" for n in range(15)})
    assert status == 400
    assert "has 16 label names; limit 15" in text


def test_sizes_of_labels(loki):
    value = [str(now()), "x"]
    assert push_values(loki, value, **{"n" * 1024: "v"})[0] == 204
    assert push_values(loki, value, **{"n" * 1025: "v"})[0] == 400
    assert push_values(loki, value, other="v" * 2048)[0] == 204
    assert push_values(loki, value, other="v" * 2049)[0] == 400


def test_duplicate_label(loki):
    data = snappy(protobuf(f'{{test="{loki.label}", test="{loki.label}"}}', "x"))
    assert push(loki, data, PROTOBUF)[0] == 400


# -- lines and metadata --------------------------------------------------------------------------------------


def test_size_of_lines(loki):
    assert push_values(loki, [str(now()), "x" * 262144])[0] == 204
    status, text = push_values(loki, [str(now()), "x" * 262145], [str(now()), ""])
    assert status == 400
    assert "max entry size '262144' bytes exceeded" in text
    assert "1 errors like: " in text
    assert [len(line) for line in lines(loki, 2)] == [262144, 0]


@pytest.mark.parametrize("value", [1, None, {"a": "b"}])
def test_metadata_values_are_strings(loki, value):
    assert push_values(loki, [str(now()), "x", {"name": value}])[0] == 400


def test_metadata_names(loki):
    given = {
        "a.b": "1",
        "c-d": "2",
        "e:f": "3",
        "1a": "4",
        "sp ace": "5",
        "__x": "6",
        "empty": "",
        "test": "7",
    }
    assert push_values(loki, [str(now()), "x", given])[0] == 204
    ((_, _, metadata, _),) = loki.entries(count=1)
    metadata.pop("detected_level")
    assert metadata == {
        "a_b": "1", "c_d": "2", "e_f": "3", "key_1a": "4", "sp_ace": "5", "_x": "6", "test_extracted": "7"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "_", "é"])
def test_unusable_metadata_names_cost_the_whole_request_with_a_500(loki, name):
    assert push_values(loki, [str(now()), "good"], [str(now()), "x", {name: "v"}])[0] == 500
    assert lines(loki) == []


def test_duplicate_metadata_names_the_last_wins(loki):
    label = json.dumps({"test": loki.label})
    text = f'{{"streams": [{{"stream": {label}, "values": [["{now()}", "x", {{"a": "1", "a": "2"}}]]}}]}}'
    assert push(loki, text.encode())[0] == 204
    assert loki.entries(count=1)[0][2]["a"] == "2"


def test_amount_of_metadata(loki):
    assert push_values(loki, [str(now()), "x", {f"n{n}": "v" for n in range(128)}])[0] == 204
    assert push_values(loki, [str(now()), "x", {f"n{n}": "v" for n in range(129)}])[0] == 400
    assert push_values(loki, [str(now()), "x", {"n": "v" * 66_000}])[0] == 400


# -- several streams -----------------------------------------------------------------------------------------


def test_good_entries_beside_refused_ones_are_stored(loki):
    old = ({"n": "1"}, [[str(now() - 8 * DAY), "old"], [str(now()), "a"]])
    long = ({"n": "2"}, [[str(now()), "x" * 262145], [str(now()), "b"]])
    assert push_streams(loki, old, long)[0] == 400
    assert sorted(lines(loki, 2)) == ["a", "b"]


def test_ingester_errors_of_all_streams_but_the_last_are_silent(loki):
    stamp = now()
    assert push_streams(loki, ({"n": "1"}, [[str(stamp), "newest"]]))[0] == 204
    behind = ({"n": "1"}, [[str(stamp - 2 * HOUR), "lost"]])
    good = ({"n": "2"}, [[str(stamp), "good"]])
    assert push_streams(loki, behind, good)[0] == 204
    assert sorted(lines(loki, 2)) == ["good", "newest"]
    other = ({"n": "2"}, [[str(stamp), "more"]])
    status, text = push_streams(loki, other, behind)
    assert status == 400
    assert "total ignored: 1 out of 1" in text
    assert sorted(lines(loki, 3)) == ["good", "more", "newest"]


def test_same_time_and_line_is_stored_once_whatever_the_metadata(loki):
    stamp = str(now())
    assert push_values(loki, [stamp, "x"], [stamp, "x"], [stamp, "y"])[0] == 204
    assert push_values(loki, [stamp, "x"])[0] == 204
    assert sorted(lines(loki, 2)) == ["x", "y"]


# -- limits, tenants, methods --------------------------------------------------------------------------------


def test_tenant_rate(make_server, loki_at):
    loki = loki_at(make_server(rate=1000, burst=2000).url)
    assert push_values(loki, [str(now()), "x" * 1500])[0] == 204
    status, text = push_values(loki, [str(now()), "y" * 1500])
    assert status == 429
    assert "ingestion rate limit exceeded" in text
    assert len(lines(loki)) == 1


def test_stream_rate(make_server, loki_at):
    loki = loki_at(make_server(stream_rate=1000, stream_burst=2000).url)
    big = ({"n": "1"}, [[str(now()), "x" * 3000]])
    small = ({"n": "2"}, [[str(now()), "y"]])
    assert push_streams(loki, small, big)[0] == 429
    assert push_streams(loki, big, small)[0] == 204
    assert lines(loki) == ["y"]


def test_stream_limit(make_server, loki_at):
    loki = loki_at(make_server(max_streams=20).url)
    assert push_streams(loki, *(({"n": str(n)}, [[str(now()), "x"]]) for n in range(25)))[0] == 429
    assert len(loki.entries()) == 20


def test_structured_metadata_may_be_off(make_server, loki_at):
    loki = loki_at(make_server(structured_metadata=False).url)
    status, text = push_values(loki, [str(now()), "x", {"a": "b"}], [str(now()), "y"])
    assert status == 400
    assert "includes structured metadata, but this feature is disallowed" in text
    assert lines(loki) == ["y"]


@pytest.mark.parametrize(
    ("tenant", "status", "text"),
    [
        (None, 401, "no org id"),
        ("a b", 400, ""),
        ("a|b", 400, "multiple org IDs present"),
        ("t" * 151, 400, ""),
        ("t" * 150, 204, ""),
    ],
)
def test_tenants(make_server, loki_at, tenant, status, text):
    loki = loki_at(make_server(auth=True).url, tenant)
    answer = push(loki, body(loki))
    assert answer[0] == status
    assert text in answer[1]


def test_a_body_above_the_limit_looks_like_broken_json(make_server, loki_at):
    loki = loki_at(make_server(max_body=1000).url)  # 100 MiB there
    assert push(loki, body(loki, "x" * 1000))[0] == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_methods(loki, method):
    assert push(loki, None if method == "GET" else b"", JSON, method)[0] == 405


def test_added_by_the_server(loki):
    assert push_values(loki, [str(now()), "an error"], [str(now()), "x", {"level": "warning"}])[0] == 204
    entries = loki.entries(count=2)
    assert sorted(metadata["detected_level"] for _, _, metadata, _ in entries) == ["error", "warn"]
    assert all(labels["service_name"] for *_, labels in entries)

"""The Grafana dashboard: a valid document, whose queries are LogQL and find what the sink ships."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys

import pytest

import subwatch
from subwatch_loki import LokiSink
from subwatch_loki.__main__ import main

BUILT_IN = re.compile(r"__\w+")
VARIABLE = re.compile(r"\$\{?(\w+)")


@pytest.fixture
def dashboard(capsys):
    assert main(["dashboard"]) == 0
    return json.loads(capsys.readouterr().out)


def filled(text, **values):
    values = {"program": ".+", "run_id": "x", "__range": "1h", "__auto": "1h", **values}
    return VARIABLE.sub(lambda match: values[match[1]], text)


def targets(dashboard):
    return [(panel["title"], target) for panel in dashboard["panels"] for target in panel["targets"]]


@pytest.fixture
def shipped(loki):
    return ship(loki)


def ship(loki):
    """A success, a failure and a killed child, under a job of the test's own."""
    sink = LokiSink(**{**loki.options, "labels": {"job": loki.label, "test": loki.label}})
    for code in ("print('WARNING: low', file=sys.stderr)", "sys.exit(3)", "os.kill(os.getpid(), 9)"):
        child = [sys.executable, "-c", f"import os, sys; print('hello', file=sys.stderr); {code}"]
        subwatch.run(child, sinks=[sink], stderr=subprocess.DEVNULL)
    assert sink.close(30) == 0
    return loki.entries(count=10)


def test_it_is_a_dashboard_to_grafanas_own_model(dashboard):
    """What Grafana's SDK does not know it leaves out; nothing may be missing after a round."""
    try:
        from grafana_foundation_sdk.cog import plugins
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.models.dashboard import Dashboard
    except ImportError as error:
        raise AssertionError("the model is needed: pip install grafana-foundation-sdk") from error
    plugins.register_default_plugins()

    def through(document):
        return json.loads(JSONEncoder(sort_keys=True, indent=1).encode(Dashboard.from_json(document)))

    def lost(before, after, path=""):
        if isinstance(before, dict):
            return [
                each
                for name, value in before.items()
                for each in (
                    lost(value, after[name], f"{path}/{name}") if name in after else [f"{path}/{name}"]
                )
            ]
        if isinstance(before, list) and len(before) == len(after):
            pairs = enumerate(zip(before, after))
            return [each for n, (one, other) in pairs for each in lost(one, other, f"{path}/{n}")]
        return [] if before == after else [path]

    assert lost(dashboard, through(dashboard)) == []
    wrong = json.loads(json.dumps(dashboard))
    wrong["panels"][0]["gridPoss"] = wrong["panels"][0].pop("gridPos")
    assert lost(wrong, through(wrong)) == ["/panels/0/gridPoss"], "the model would have seen a wrong name"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_do_not_overlap(dashboard):
    seen = set()
    for place in (panel["gridPos"] for panel in dashboard["panels"]):
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & seen
        seen |= cells


def test_every_variable_is_defined(dashboard):
    defined = {each["name"] for each in dashboard["templating"]["list"]}
    used = set(VARIABLE.findall(json.dumps(dashboard)))
    assert {name for name in used if not BUILT_IN.fullmatch(name)} == defined


def test_every_query_is_logql_about_what_is_shipped(dashboard, parse_logql, shipped):
    queries = [filled(target["expr"], job="subwatch") for _, target in targets(dashboard)]
    known = {name for _, _, metadata, labels in shipped for name in (*metadata, *labels)} | {"dropped"}
    for query, found in zip(queries, parse_logql(queries), strict=True):
        assert found["errors"] == [], query
        assert set(found["names"]) <= known, query
    shown = set(re.findall(r"\{\{(\w+)\}\}", json.dumps(dashboard)))
    assert shown <= known
    (columns,) = [panel for panel in dashboard["panels"] if panel["type"] == "table"]
    assert columns["fieldConfig"]["overrides"][0]["matcher"]["options"] in known
    assert parse_logql(['{job="x"} | failed="true'])[0]["errors"], "the parser would have seen an error"


def test_the_readmes_queries_are_logql(parse_logql):
    text = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
    queries = re.findall(r"```logql\n(.*?)```", text, re.DOTALL)[0].strip().splitlines()
    assert len(queries) >= 3
    assert [found["errors"] for found in parse_logql(queries)] == [[]] * len(queries)


def test_the_panels_show_what_has_happened(dashboard, loki, shipped):
    shown = {}
    for title, target in targets(dashboard):
        if "over_time" in target["expr"]:
            shown[title] = loki.vector(filled(target["expr"], job=loki.label))
    program = pathlib.Path(sys.executable).name
    assert shown["Runs"] == [({}, 3)]
    assert shown["Failed runs"] == [({}, 2)]
    assert shown["Runs with records dropped"] == [({}, 0)]
    assert 0 < shown["Longest run"][0][1] < 60
    assert shown["Runs by program"] == [({"program": program}, 3)]
    failures = {
        (each["reason"], each["exit_code"]): value for each, value in shown["Failures by program and reason"]
    }
    assert failures == {("exited", "3"): 1, ("signaled", "-9"): 1}
    assert {each["level"]: value for each, value in shown["Lines by level"]} == {"info": 3, "warning": 1}
    assert 0 < shown["Duration by program (95th percentile)"][0][1] < 60


def test_many_runs_do_not_exceed_the_series_of_a_query(dashboard, make_server, loki_at):
    """A run has metadata of its own, so a query that keeps it all fails after 500 runs; here after two."""
    local = loki_at(make_server(max_query_series=2).url)
    ship(local)
    for _, target in targets(dashboard):
        if "over_time" in target["expr"]:
            local.vector(filled(target["expr"], job=local.label))
    careless = f'max(max_over_time({{job="{local.label}"}} | event="exit" | unwrap duration [1h]))'
    with pytest.raises(AssertionError, match="maximum of series"):
        local.vector(careless)


def test_from_a_failed_run_to_its_lines(dashboard, loki, shipped):
    table, log = [target["expr"] for _, target in targets(dashboard) if "over_time" not in target["expr"]]
    failed = loki.entries(filled(table, job=loki.label), count=2)
    assert [metadata["exit_code"] for _, _, metadata, _ in failed] == ["3", "-9"]
    lines = loki.entries(filled(log, job=loki.label, run_id=failed[0][2]["run_id"]), count=3)
    assert [metadata.get("event", line) for _, line, metadata, _ in lines] == ["start", "hello", "exit"]


def test_the_command_prints_it(dashboard):
    done = subprocess.run(
        [sys.executable, "-m", "subwatch_loki", "dashboard"], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == json.dumps(dashboard, indent=2) + "\n"

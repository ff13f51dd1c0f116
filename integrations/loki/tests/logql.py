"""Grafana's own parser of LogQL (npm, @grafana/lezer-logql), installed once into the user's cache."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import subprocess

PACKAGES = {"@grafana/lezer-logql": "0.4.2", "@lezer/lr": "1.4.10"}
HINT = f"npm install {' '.join(f'{name}@{version}' for name, version in PACKAGES.items())}"
CACHE = os.environ.get("SUBWATCH_TEST_CACHE") or pathlib.Path.home() / ".cache" / "subwatch-tests"
FOLDER = pathlib.Path(CACHE) / f"logql-{PACKAGES['@grafana/lezer-logql']}"
SCRIPT = """
import {readFileSync} from "node:fs";
import {parser} from "@grafana/lezer-logql";
const found = JSON.parse(readFileSync(0)).map(query => {
    const errors = [], names = [];
    parser.parse(query).iterate({enter(node) {
        if (node.type.isError) errors.push(node.from);
        if (node.name === "Identifier") names.push(query.slice(node.from, node.to));
    }});
    return {errors, names};
});
console.log(JSON.stringify(found));
"""


def install():
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (FOLDER / "installed").exists():
            (FOLDER / "package.json").write_text(json.dumps({"private": True, "dependencies": PACKAGES}))
            run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"])
            (FOLDER / "installed").touch()
        (FOLDER / "parse.mjs").write_text(SCRIPT)


def run(command, text=None):
    try:
        done = subprocess.run(command, cwd=FOLDER, input=text, capture_output=True, text=True, timeout=300)
    except FileNotFoundError as error:
        raise AssertionError(f"{error.filename} is not installed; needed is: {HINT}") from None
    assert done.returncode == 0, f"needed is: {HINT}\n{done.stderr[-2000:]}"
    return done.stdout


def parse(queries):
    """For each query the places of errors, and the names in it."""
    install()
    return json.loads(run(["node", "parse.mjs"], json.dumps(queries)))

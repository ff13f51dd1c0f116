"""A real Jupyter kernel: lines and ends are shown once, in the cell that has started the child."""

from __future__ import annotations

import html
import importlib.util
import json
import re
import subprocess
import sys

import pytest

# in a process of its own: what a client of Jupyter leaves behind is not ours to check
NOTEBOOK = """
import json, sys
import nbformat
from nbclient import NotebookClient

cells = [nbformat.v4.new_code_cell(cell) for cell in json.loads(sys.argv[1])]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print("RESULT", json.dumps([cell.outputs for cell in notebook.cells]))
"""
SETUP = "import asyncio, subwatch; subwatch.configure(sinks=['rich'])"
RUN = "subwatch.run(['sh', '-c', 'echo one >&2; sleep 2; echo warning: two >&2']).returncode"
FAIL = "subwatch.run(['sh', '-c', 'echo why >&2; exit 3']).returncode"
MANY = "runs = [subwatch.aio.run(['sh', '-c', f'echo number {n} >&2']) for n in range(2)]\n"
MANY += "[done.returncode for done in await asyncio.gather(*runs)]"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The outputs of the cells, as text without styles."""
    for package in ("nbclient", "ipykernel"):
        assert importlib.util.find_spec(package), f"{package} is missing: pip install {package}"
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, json.dumps([SETUP, RUN, FAIL, MANY])],
        capture_output=True, text=True, cwd=home, timeout=120, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout.partition("RESULT ")[2])
    assert all(
        output["output_type"] in ("display_data", "execute_result") for cell in cells for output in cell
    )
    return [[output["data"] for output in cell] for cell in cells]


def shown(cell):
    """What a person sees of the display in a cell."""
    pages = "".join(data["text/html"] for data in cell if "text/html" in data)
    return [line for line in html.unescape(re.sub("<[^>]*>", "", pages)).splitlines() if line]


@pytest.mark.slow
def test_lines_and_the_end_are_shown_once(outputs):
    setup, run, _, _ = outputs
    assert setup == []
    assert run[-1]["text/plain"] == "0"
    lines = shown(run)
    assert lines[:2] == ["sh │ one", "sh │ warning: two"]
    assert lines[2].startswith("✓ sh ok  ")
    assert len(lines) == 3


def test_lines_are_live(outputs):
    """The first is there before the second was said, which the end may follow at once or not."""
    first, *_ = (data for data in outputs[1] if "text/html" in data)
    assert shown([first]) == ["sh │ one"]


def test_a_failure_has_its_panel(outputs):
    lines = shown(outputs[2])
    assert lines[0] == "sh │ why"
    assert lines[1].startswith("✗ sh exited with code 3  ")
    assert "last lines of sh" in lines[2]
    assert "│ why " in lines[3]
    assert outputs[2][-1]["text/plain"] == "3"


def test_on_asyncio(outputs):
    lines = shown(outputs[3])
    assert sorted(line.partition("│ ")[2] for line in lines if "│" in line) == ["number 0", "number 1"]
    assert sum(line.startswith("✓") for line in lines) == 2
    assert outputs[3][-1]["text/plain"] == "[0, 0]"

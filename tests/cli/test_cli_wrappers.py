"""What README says of other wrappers beside ours: each cell that can be run here is."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

import pytest

OURS = [sys.executable, "-m", "subwatch", "run", "--quiet", "--"]
PACKAGES = {"chronic": "moreutils", "cronic": "cronic"}
WRAPPERS = {"chronic": ["chronic"], "cronic": ["cronic"], "subwatch": OURS}


@pytest.fixture(params=WRAPPERS)
def wrapper(request):
    package = PACKAGES.get(request.param)
    assert package is None or shutil.which(request.param), (
        f"{request.param} is missing: apt-get install {package}"
    )
    return request.param


def call(wrapper, script, **options):
    return subprocess.run(
        [*WRAPPERS[wrapper], "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **options,
    )


def test_a_success_says_nothing(wrapper):
    done = call(wrapper, "echo said")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_failure_shows_its_output_and_passes_its_status_on(wrapper):
    done = call(wrapper, "echo out; echo err >&2; exit 3")
    assert done.returncode == {"cronic": 0}.get(wrapper, 3)
    where = {"cronic": (done.stdout, done.stdout)}.get(wrapper, (done.stdout, done.stderr))
    assert "out\n" in where[0]
    assert "err\n" in where[1]


def test_a_success_that_wrote_to_stderr(wrapper):
    done = call(wrapper, "echo err >&2")
    assert ("err\n" in done.stdout + done.stderr) == (wrapper == "cronic")


def test_the_status_after_a_signal(wrapper):
    status = call(wrapper, "kill -KILL $$").returncode
    assert status == {"chronic": 1, "cronic": 0, "subwatch": 137}[wrapper]


def test_a_signal_for_the_wrapper(wrapper, tmp_path):
    """Ours passes it on; the others die of it, and the command goes on."""
    script = f"trap 'echo got > {tmp_path}/got; exit 5' TERM; echo > {tmp_path}/up; "
    script += f"for n in $(seq 40); do sleep 0.1; done; echo > {tmp_path}/went-on"
    with subprocess.Popen(
        [*WRAPPERS[wrapper], "sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 20
        while not (tmp_path / "up").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        status = process.wait(20)
    while not any((tmp_path / name).exists() for name in ("got", "went-on")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if wrapper == "subwatch":
        assert (status, (tmp_path / "got").exists()) == (5, True)
    else:
        assert (status, (tmp_path / "went-on").exists()) == (-signal.SIGTERM, True)

"""Builds every distribution, twice, and tries the built files as a new user would.

    python tests/packages.py

Each sdist is built, its wheel is built from it, both are checked by twine, and a second build has to give the
same bytes. The core alone is installed into an environment that has nothing else, then all of them together by
the extras of the core; there the command runs, and every sink is found and made.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMES = ["loki", "opentelemetry", "rich", "sentry"]
CORE = """
import subwatch, importlib.metadata as metadata
assert [d.name for d in metadata.distributions() if d.name not in ("pip", "setuptools")] == ["subwatch"]
done = subwatch.run(["sh", "-c", "echo said >&2; exit 3"], capture_output=True, text=True, sinks=["logging"])
assert (done.returncode, done.stderr) == (3, "said\\n")
print("subwatch", subwatch.__version__, "alone works")
"""
ALL = """
import subwatch
for name in ("logging", "loki", "opentelemetry", "rich", "sentry"):
    subwatch.run(["true"], sinks=[subwatch.sink(name, **({"url": "http://127.0.0.1:9"} if name == "loki" else {}))])
print("all sinks are found")
"""


def call(*command: object, **kwargs: object) -> None:
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, **kwargs)  # type: ignore[call-overload]


def build(folder: Path) -> dict[str, str]:
    """Build all distributions into a folder; return the digests of the files."""
    env = dict(os.environ, SOURCE_DATE_EPOCH="1767225600")
    for source in [ROOT, *(ROOT / "integrations" / name for name in NAMES)]:
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source]
        call(*command, env=env, stdout=subprocess.DEVNULL)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def environment(folder: Path, *install: object) -> Path:
    """Make a virtual environment and return its folder of programs."""
    venv.create(folder, with_pip=True)
    call(folder / "bin" / "pip", "install", "-q", *install)
    return folder / "bin"


def main() -> None:
    """Build and try."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dist = folder / "dist"
        first = build(dist)
        if first != build(folder / "again"):
            raise SystemExit("two builds of the same sources differ")
        call(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir())
        [wheel] = dist.glob("subwatch-*.whl")
        programs = environment(folder / "core", "--no-index", wheel)
        call(programs / "python", "-W", "error", "-c", CORE)
        programs = environment(folder / "all", "--find-links", dist, f"{wheel}[{','.join(NAMES)}]")
        call(programs / "python", "-c", ALL)
        call(programs / "subwatch", "--version")
        call(programs / "subwatch", "sinks", "--check")
        call(programs / "subwatch", "run", "--", "true")


if __name__ == "__main__":
    main()

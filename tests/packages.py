"""Builds every distribution, twice, and tries the built files as a new user would, on every Python there is.

    python tests/packages.py [--out FOLDER]

Each sdist is built, its wheel is built from it, and both are checked by twine. The second build, of a copy of the
sources elsewhere with other file times and modes, has to give the same bytes. Then, on each Python: the core alone
is installed into an environment that has nothing else, then all of them together by the extras of the core; there the
command runs, and every sink is found and made. In CI a Python that is not there is a failure, but for 3.14. With
``--out`` the built files are kept, and nothing is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMES = ["loki", "opentelemetry", "rich", "sentry"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
REQUIRED = PYTHONS[:3]  # the newest is not everywhere yet
EPOCH = os.environ.get("SOURCE_DATE_EPOCH", "1767225600")
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


def sources(root: Path) -> list[Path]:
    """Folders that a distribution is built from."""
    return [root, *(root / "integrations" / name for name in NAMES)]


def build(root: Path, folder: Path) -> dict[str, str]:
    """Build all distributions into a folder; return the digests of the files."""
    env = dict(os.environ, SOURCE_DATE_EPOCH=EPOCH)
    for source in sources(root):
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source]
        call(*command, env=env, stdout=subprocess.DEVNULL)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def copy(folder: Path) -> Path:
    """Copy the sources, with the time of now and without group and world permissions."""
    ignore = shutil.ignore_patterns(".*", "__pycache__", "dist", "benchmarks", "recordings")
    shutil.copytree(ROOT, folder, ignore=ignore, copy_function=shutil.copyfile)
    shutil.copyfile(ROOT / ".gitignore", folder / ".gitignore")
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return folder


def check(dist: Path) -> None:
    """Look into the built files: twine's checks, the licence, nothing that belongs elsewhere."""
    call(sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir()))
    licence = (ROOT / "LICENSE").read_bytes()
    for wheel in dist.glob("*.whl"):
        package, version, *_ = wheel.name.split("-")
        with zipfile.ZipFile(wheel) as file:
            names, info = file.namelist(), f"{package}-{version}.dist-info"
            assert file.read(f"{info}/licenses/LICENSE") == licence, (
                f"{wheel.name}: the licence is not that of the project"
            )
            assert f"{package}/py.typed" in names, f"{wheel.name}: not marked as typed"
            assert {name.split("/")[0] for name in names} == {package, info}, f"{wheel.name}: {names}"
            metadata = file.read(f"{info}/METADATA").decode()
        links = re.findall(r"\]\((?!https?:|#)[^)]*\)", metadata)
        assert not links, f"{wheel.name}: links that lead nowhere on the page of an index: {links}"
    for sdist in dist.glob("*.tar.gz"):
        with tarfile.open(sdist) as file:
            tops = {name.split("/")[1] for name in file.getnames()}
        allowed = {
            "src",
            "tests",
            "README.md",
            "LICENSE",
            "CHANGELOG.md",
            "pyproject.toml",
            "PKG-INFO",
            ".gitignore",
        }
        assert tops <= allowed, f"{sdist.name}: {tops - allowed}"


def environment(python: str, folder: Path, *install: object) -> Path:
    """Make a virtual environment and return its folder of programs."""
    call(python, "-m", "venv", folder)
    call(folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *install)
    return folder / "bin"


def attempt(python: str, dist: Path, folder: Path) -> None:
    """Install the built files and use them."""
    [wheel] = dist.glob("subwatch-*.whl")
    programs = environment(python, folder / "core", "--no-index", wheel)
    call(programs / "python", "-W", "error", "-c", CORE)
    programs = environment(python, folder / "all", "--find-links", dist, f"{wheel}[{','.join(NAMES)}]")
    call(programs / "python", "-c", ALL)
    call(programs / "subwatch", "--version")
    call(programs / "subwatch", "sinks", "--check")
    call(programs / "subwatch", "run", "--", "true")


def find(version: str) -> str | None:
    """The first interpreter on the PATH that runs (pyenv puts programs there that only say what is missing)."""
    for folder in os.get_exec_path():
        path = shutil.which(f"python{version}", path=folder)
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    return None


def pythons() -> list[str]:
    """The interpreters to try; those that are missing are said, and refused in CI where they are required."""
    found = {version: find(version) for version in PYTHONS}
    missing = [version for version in PYTHONS if not found[version]]
    if os.environ.get("CI") and not all(found[version] for version in REQUIRED):
        raise SystemExit(f"not here: Python {', '.join(missing)}")
    if missing:
        print("not here, so not tried: Python", ", ".join(missing))
    return [path for path in found.values() if path]


def main() -> None:
    """Build and try."""
    parser = argparse.ArgumentParser(description="build every distribution, and try the built files")
    parser.add_argument("--out", type=Path, help="keep the built files here, and do not install them")
    out = parser.parse_args().out
    interpreters = [] if out else pythons()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dist = folder / "dist"
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            first, second = pool.map(build, (ROOT, copy(folder / "copy")), (dist, folder / "again"))
            if first != second:
                raise SystemExit("two builds of the same sources differ")
            check(dist)
            if out:
                shutil.copytree(dist, out, dirs_exist_ok=True)
            done = [pool.submit(attempt, python, dist, folder / Path(python).name) for python in interpreters]
            for each in done:
                each.result()


if __name__ == "__main__":
    main()

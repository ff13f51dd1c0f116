"""Fuzzes the properties of this folder, guided by coverage: ``tox run -e fuzz -- --seconds 600 [NAME...]``.

Each property of Hypothesis takes a buffer of bytes as its source of randomness; atheris (libFuzzer) finds buffers that
reach new code. A failure is kept in Hypothesis' database, so that ``pytest tests/fuzz`` shows it at once, made small;
once it is understood it becomes an ``@example`` of its property. What libFuzzer finds of interest is kept in
``.hypothesis/fuzz`` for the next time.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: Where properties are: the core's, and those of the integrations that are installed.
FOLDERS = (HERE, *sorted(ROOT.glob("integrations/*/tests")))


def properties():
    """Names of all properties, as FILE::NAME."""
    found = []
    for folder in FOLDERS:
        for path in sorted(folder.glob("test_fuzz_*.py")):
            lines = path.read_text("utf-8").splitlines()
            names = [line[4:].partition("(")[0] for line in lines if line.startswith("def test_")]
            found += [f"{path.relative_to(ROOT)}::{name}" for name in names]
    return found


def fuzz(name, seconds):
    """Fuzz one property in this process; ends it."""
    import atheris

    with atheris.instrument_imports(include=["subwatch", "subwatch_loki", "subwatch_opentelemetry"]):
        path, _, function = name.partition("::")
        spec = importlib.util.spec_from_file_location("properties", ROOT / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        one_input = getattr(module, function).hypothesis.fuzz_one_input
        corpus = ROOT / ".hypothesis/fuzz" / function
        corpus.mkdir(parents=True, exist_ok=True)
        options = [
            "-max_len=8192",
            f"-max_total_time={seconds}",
            "-rss_limit_mb=2048",
            "-timeout=60",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus}-", str(corpus)], one_input)
        atheris.Fuzz()


def main():
    """Fuzz all properties, or those named, for so many seconds in all, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="part of the name of a property; all by default"
    )
    parser.add_argument("--seconds", type=int, default=300, help="for all of them together (default 300)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        fuzz(arguments.one, arguments.seconds)
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is needed: pip install atheris (Linux, CPython)", file=sys.stderr)
        return 1
    chosen = [
        name for name in properties() if not arguments.names or any(part in name for part in arguments.names)
    ]
    failed = []
    for name in chosen:
        seconds = max(1, arguments.seconds // len(chosen))
        print(f"== {name}: {seconds} s", flush=True)
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, __file__, "--one", name, "--seconds", str(seconds)],
            cwd=ROOT,
            timeout=seconds * 2 + 120,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        lines = done.stdout.splitlines()
        covered = [line for line in lines if " cov: " in line][-1:]
        print(
            "\n".join(covered if done.returncode == 0 else lines[-60:]),
            f"({time.monotonic() - begun:.0f} s)",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
    print(f"{len(chosen) - len(failed)} of {len(chosen)} properties held", *failed, sep="\n")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())

"""Record what real programs print about their progress, into the ``.bin`` files beside this script.

Run it as root on a Debian machine (PostgreSQL's server wants an unprivileged user), when a new version of a
program shows progress in a new way::

    apt-get install curl ffmpeg git postgresql pv restic borgbackup rsync wget xz-utils
    pip install pgserver tqdm
    python tests/recordings/record.py [NAME...]

Everything is local: data is made up, servers listen on 127.0.0.1. ``NAME.bin`` holds what the program wrote
to a pipe, ``NAME.tty.bin`` what it wrote to a terminal of 80 columns; where a program reports on standard
output, that was recorded.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import http.server
import importlib.util
import os
import pty
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import zipfile
from pathlib import Path
from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, BinaryIO

HERE = Path(__file__).parent
TIMEOUT = 60
EMPTY: Mapping[str, str] = MappingProxyType({})
RECORDERS: dict[str, Callable[[], None]] = {}


def recorder(function: Callable[[], None]) -> Callable[[], None]:
    """Register a function that records one program; it runs in an empty working directory."""
    RECORDERS[function.__name__] = function
    return function


def save(name: str, data: bytes) -> None:
    """Store a recording without anything of this machine in it."""
    data = data.replace(os.fsencode(Path.cwd()), b"/data").replace(os.fsencode(Path.home()), b"/home")
    (HERE / f"{name}.bin").write_bytes(data)
    print(f"{name}: {len(data)} bytes")


def on_pipe(
    name: str,
    *argv: str,
    stream: str = "stderr",
    env: Mapping[str, str] = EMPTY,
    stdin: Any = subprocess.DEVNULL,
) -> None:
    """Record what a program writes to a pipe."""
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: subprocess.PIPE}
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **env}
    done = subprocess.run(argv, env=environment, timeout=TIMEOUT, check=True, stdin=stdin, **streams)
    save(name, getattr(done, stream))


def on_terminal(
    name: str,
    *argv: str,
    stream: str = "stderr",
    env: Mapping[str, str] = EMPTY,
    stdin: Any = subprocess.DEVNULL,
) -> None:
    """Record what a program writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm", **env}
    with subprocess.Popen(argv, env=environment, stdin=stdin, start_new_session=True, **streams) as child:
        os.close(theirs)
        timer = threading.Timer(TIMEOUT, child.kill)
        timer.start()
        chunks = []
        with contextlib.suppress(OSError):  # EIO: the child has closed its side
            while chunk := os.read(ours, 65536):
                chunks.append(chunk)
        timer.cancel()
    os.close(ours)
    if child.returncode:
        raise SystemExit(f"{name}: exit status {child.returncode}: {b''.join(chunks)[-500:]!r}")
    save(f"{name}.tty", b"".join(chunks))


def on_both(name: str, *argv: str, **options: Any) -> None:
    """Record both."""
    on_pipe(name, *argv, **options)
    on_terminal(name, *argv, **options)


def make(name: str, size: int) -> Path:
    """Make a file of random bytes."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


@contextlib.contextmanager
def web_server() -> Iterator[str]:
    """Serve the working directory over HTTP, slowly, without a length where ``?unsized`` is asked; yields the address."""

    class Slow(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def send_header(self, keyword: str, value: str) -> None:
            if keyword != "Content-Length" or not self.path.endswith("?unsized"):
                super().send_header(keyword, value)

        def do_PUT(self) -> None:  # noqa: N802
            left = int(self.headers["Content-Length"])
            while left:
                left -= len(self.rfile.read(min(left, 500_000)))
                time.sleep(0.15)
            self.send_response(201)
            self.end_headers()

        def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:
            while chunk := source.read(50_000):
                outputfile.write(chunk)
                time.sleep(0.15)

    handler = functools.partial(Slow, directory=str(Path.cwd()))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def cluster(programs: Path) -> Iterator[tuple[Callable[..., list[str]], list[str]]]:
    """Run a PostgreSQL cluster of its own; yields what makes commands of its programs, and how to reach it."""
    Path.cwd().chmod(0o777)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def command(program: str, *arguments: str) -> list[str]:
        return ["runuser", "-u", "postgres", "--", str(programs / program), *arguments]

    quiet = {"check": True, "stdout": subprocess.DEVNULL, "timeout": TIMEOUT}
    subprocess.run(command("initdb", "-D", "data", "-A", "trust", "--no-sync", "--data-checksums"), **quiet)
    server = f"-k '' -h 127.0.0.1 -p {port} -c fsync=off"
    subprocess.run(command("pg_ctl", "-D", "data", "-w", "-o", server, "-l", "server.log", "start"), **quiet)
    try:
        yield command, ["-h", "127.0.0.1", "-p", port]
    finally:
        subprocess.run(command("pg_ctl", "-D", "data", "-m", "fast", "stop"), **quiet)


@recorder
def postgres() -> None:
    """pg_basebackup, pg_checksums and pgbench, on a cluster of their own."""
    newest = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    with cluster(newest) as (command, here):
        backup = command("pg_basebackup", *here, "-v", "-P", "-r", "6M", "-c", "fast", "--no-sync", "-D")
        on_pipe("pg_basebackup", *backup, "backup")
        on_terminal("pg_basebackup", *backup, "backup-tty")
        on_both("pgbench-init", *command("pgbench", *here, "-i", "-s", "5", "postgres"))
        on_pipe("pgbench", *command("pgbench", *here, "-n", "-S", "-T", "4", "-P", "1", "postgres"))
    on_both("pg_checksums", *command("pg_checksums", "-D", "data", "--check", "--progress"))


@recorder
def pg_verifybackup() -> None:
    """It tells its progress since PostgreSQL 16, which PyPI's pgserver has where Debian is older."""
    package = importlib.util.find_spec("pgserver")
    if package is None or package.origin is None:
        raise SystemExit("pg_verifybackup: pip install pgserver")
    programs = Path(package.origin).parent / "pginstall/bin"
    with cluster(programs) as (command, here):
        backup = command("pg_basebackup", *here, "-c", "fast", "--no-sync", "-D", "backup")
        subprocess.run(backup, check=True, timeout=TIMEOUT)
    on_both("pg_verifybackup", *command("pg_verifybackup", "--progress", "backup"))


@recorder
def rsync() -> None:
    """Two files, slowly, with the overall meter; on standard output."""
    make("from/a", 300_000)
    make("from/b", 700_000)
    rsync = ["rsync", "-a", "--info=progress2", "--bwlimit=500", "from/"]
    on_pipe("rsync", *rsync, "to", stream="stdout")
    on_terminal("rsync", *rsync, "to-tty", stream="stdout")


@recorder
def curl() -> None:
    """The meter in columns, of what has no known length and of an upload, too; and the bar."""
    make("file", 1_000_000)
    make("upload", 12_000_000)
    with web_server() as address:
        on_pipe("curl-unsized", "curl", "-o", "out", f"{address}/file?unsized")
        on_pipe("curl-upload", "curl", "-T", "upload", f"{address}/upload")
        on_both("curl", "curl", "-o", "out", f"{address}/file")
        on_both("curl-bar", "curl", "-#", "-o", "out", f"{address}/file")


@recorder
def wget() -> None:
    """Dots on a pipe, a bar on a terminal."""
    make("file", 600_000)
    with web_server() as address:
        on_both("wget", "wget", "-O", "out", f"{address}/file")


@recorder
def ffmpeg() -> None:
    """Transcode three seconds of a film made here, at its own speed."""
    source = ["-f", "lavfi", "-i", "testsrc=duration=3:size=160x120:rate=10"]
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-nostdin", *source, "film.mkv"], check=True, timeout=TIMEOUT
    )
    transcode = ["ffmpeg", "-hide_banner", "-y", "-re", "-i", "film.mkv", "-f", "null", "-"]
    on_both("ffmpeg", *transcode)
    on_pipe("ffmpeg-progress", *transcode, "-nostats", "-progress", "pipe:2")


@recorder
def dd() -> None:
    """Copy what arrives slowly."""
    for record in (on_pipe, on_terminal):
        slowly = ["pv", "-q", "-S", "-s", "6m", "-L", "2m", "/dev/zero"]
        with subprocess.Popen(slowly, stdout=subprocess.PIPE) as source:
            record("dd", "dd", "status=progress", "bs=64k", "of=/dev/null", stdin=source.stdout)


@recorder
def git() -> None:
    """Clone and fetch, from a repository made here."""
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": TIMEOUT}
    run = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", "-C", "from"]
    subprocess.run(["git", "init", "from"], **quiet)

    def commit(numbers: range) -> None:
        for number in numbers:
            make(f"from/dir{number % 7}/file{number}", 3000)
        subprocess.run([*run, "add", "."], **quiet)
        subprocess.run([*run, "commit", "-m", "more"], **quiet)

    commit(range(30))
    source = f"file://{Path.cwd()}/from"
    on_pipe("git-clone", "git", "clone", "--progress", source, "to")
    on_terminal("git-clone", "git", "clone", source, "to-tty")
    commit(range(30, 50))
    on_pipe("git-fetch", "git", "-C", "to", "fetch", "--progress")


@recorder
def tqdm() -> None:
    """With and without a known total."""
    loop = "import time, tqdm\nfor _ in tqdm.tqdm({}, desc='files', mininterval=0.2): time.sleep(0.02)"
    on_both("tqdm", sys.executable, "-c", loop.format("range(60)"))
    on_pipe("tqdm-endless", sys.executable, "-c", loop.format("iter(range(60))"))


@recorder
def pip() -> None:
    """Download a wheel made here, from an index made here."""
    name = "demo-1.0-py3-none-any.whl"
    index = Path("simple/demo")
    index.mkdir(parents=True)
    with zipfile.ZipFile(index / name, "w") as wheel:
        wheel.writestr("demo.py", os.urandom(800_000))
        wheel.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr("demo-1.0.dist-info/WHEEL", tags)
        wheel.writestr("demo-1.0.dist-info/RECORD", "demo.py,,\n")
    (index / "index.html").write_text(f'<a href="{name}">{name}</a>')
    with web_server() as address:
        clean = {"PIP_CONFIG_FILE": os.devnull, "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
        download = [sys.executable, "-m", "pip", "download", "--no-cache-dir", "--disable-pip-version-check"]
        download += ["-i", f"{address}/simple", "-d", "out", "demo"]
        on_terminal("pip", *download, stream="stdout", env=clean)
        shutil.rmtree("out")
        on_pipe("pip-raw", *download, "--progress-bar=raw", stream="stdout", env=clean)


@recorder
def borg() -> None:
    """Create and extract, plain and as JSON."""
    env = {"BORG_BASE_DIR": str(Path.cwd() / "borg"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    init = ["borg", "init", "-e", "none", "repo"]
    subprocess.run(init, env={**os.environ, **env}, check=True, timeout=TIMEOUT)
    create = ["borg", "create", "--progress", "--compression", "lzma,9"]
    for record, name, *options in (
        (on_pipe, "borg-create", "repo::a"),
        (on_terminal, "borg-create", "repo::b"),
        (on_pipe, "borg-create-json", "--log-json", "repo::c"),
    ):
        for number in range(15):
            make(f"from/file{number}", 300_000)
        record(name, *create, *options, "from", env=env)
    extract = ["borg", "extract", "--progress", "--dry-run"]
    on_both("borg-extract", *extract, "repo::a", env=env)
    on_pipe("borg-extract-json", *extract, "--log-json", "repo::a", env=env)


@recorder
def restic() -> None:
    """Backup, plain and as JSON; on standard output."""
    env = {"RESTIC_PASSWORD": "none", "RESTIC_PROGRESS_FPS": "5", "RESTIC_CACHE_DIR": "cache"}
    init = ["restic", "-q", "init", "-r", "repo"]
    subprocess.run(init, env={**os.environ, **env}, check=True, timeout=TIMEOUT)
    # One processor only, so that it takes long enough to report.
    backup = ["taskset", "1", "restic", "backup", "-r", "repo", "from"]
    for record, name, *options in (
        (on_pipe, "restic"),
        (on_terminal, "restic"),
        (on_pipe, "restic-json", "--json"),
    ):
        for number in range(30):
            make(f"from/file{number}", 4_000_000)
        record(name, *backup, *options, stream="stdout", env=env)


@recorder
def pv() -> None:
    """The bar, the bar without a size, and numbers."""
    make("file", 3_000_000)
    slow = ["pv", "-f", "-i", "0.3", "-L", "1500k"]
    on_pipe("pv", *slow, "file")
    with subprocess.Popen(["cat", "file"], stdout=subprocess.PIPE) as source:
        on_pipe("pv-sizeless", *slow, stdin=source.stdout)
    on_pipe("pv-numeric", *slow, "-n", "file")


@recorder
def xz() -> None:
    """A program without a recogniser of its own, for the generic percentage."""
    make("file", 6_000_000)
    on_terminal("xz", "xz", "-v", "-9", "-k", "file")


def main(names: list[str]) -> None:
    """Record all programs, or those named."""
    for name in names or RECORDERS:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            RECORDERS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])

"""Draws the pictures of the README, of a real run: what the terminal shows, and what Loki has of it.

    python tests/pictures/draw.py [FOLDER]

A real pg_basebackup, an rsync and a pg_dump that fails run at once, with the sinks rich and loki. The terminal is a real
one (a pseudo-terminal, read by pyte); the picture is its screen while two of them run. The entries are asked back from
the Loki of the tests (integrations/loki/tests/lokiserver.py) by a query.
"""

from __future__ import annotations

import fcntl
import importlib.util
import io
import json
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COLUMNS, ROWS = 100, 20
# what each picture has to show, wherever and whenever it is drawn
SHOWN = {
    "terminal": [
        "pg_basebackup",
        "rsync",
        "pg_dump exited with code 1",
        "last lines of pg_dump",
        "━",
        "%",
        "eta",
    ],
    "loki": [
        "{app=",
        "initiating base backup",
        "pg_dump",
        "error",
        "connection to server at",
        "exited with code 1",
    ],
}
SCENE = """
import json, os, sys, threading, time
import subwatch
from subprocess import DEVNULL

url, commands = sys.argv[1], json.loads(sys.argv[2])
os.chdir(sys.argv[3])
subwatch.configure(sinks=["rich", subwatch.sink("loki", url=url, labels={"app": "nightly"})])
jobs = [
    threading.Thread(target=subwatch.run, args=[command], kwargs={"stdout": DEVNULL, "watch_stdout": True})
    for command in commands
]
for job in jobs:
    job.start()
    time.sleep(0.4)
for job in jobs:
    job.join()
"""


def load(path: str):
    """Import a helper module of the tests."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_for_pictures", ROOT / path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Terminal:
    """A command on a terminal, and what its screen shows."""

    def __init__(self, command):
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        pid, self.fd = pty.fork()
        if pid == 0:
            env = {
                **os.environ,
                "TERM": "xterm-256color",
                "COLORTERM": "",
                "COLUMNS": str(COLUMNS),
                "LINES": str(ROWS),
            }
            os.execvpe(command[0], command, env)
        self.pid = pid
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def read(self) -> bool:
        """Take what came; false when the command has ended."""
        if not select.select([self.fd], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.stream.feed(data)
        return bool(data)

    def close(self) -> int:
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def text(self) -> str:
        return "\n".join(self.screen.display)

    def lines(self) -> list[Text]:
        """The screen with its colours, without empty lines at its end."""
        rows = [self.row(self.screen.buffer[y]) for y in range(ROWS)]
        while rows and not rows[-1].plain.strip():
            rows.pop()
        return rows

    @staticmethod
    def row(cells) -> Text:
        text = Text(no_wrap=True)
        for style, run in groupby((cells[x] for x in range(COLUMNS)), key=style_of):
            text.append("".join(cell.data for cell in run), style)
        return text


def style_of(cell) -> Style:
    return Style(color=colour(cell.fg), bgcolor=colour(cell.bg), bold=cell.bold, italic=cell.italics)


def colour(name: str) -> str | None:
    """The name that rich has for a colour of pyte."""
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return {"brown": "yellow"}.get(name, name).replace("bright", "bright_")


def svg(lines: list[Text], title: str, name: str) -> str:
    """A picture of lines of text, that asks nobody for a font."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for line in lines:
        console.print(line, overflow="crop", no_wrap=True, highlight=False)
    picture = console.export_svg(title=title, theme=MONOKAI, unique_id=name)
    return re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL).replace(
        "Fira Code", "DejaVu Sans Mono"
    )


def commands(cluster, folder: Path) -> list[list[str]]:
    """A backup of several seconds, a copy as long, a dump that finds no server."""
    (folder / "photos").mkdir()
    for number in range(24):
        (folder / "photos" / f"{number}.jpg").write_bytes(os.urandom(2_000_000))
    copy = ["rsync", "-a", "--info=progress2", "--no-inc-recursive", "--bwlimit=6m", "photos/", "mirror/"]
    backup = cluster.backup(cluster.folder / "backup", "--max-rate", "10M")[len(cluster.prefix) :]
    dump = ["pg_dump", "-h", "127.0.0.1", "-p", "1", "-U", "postgres", "shop"]
    return [["pg_basebackup", *backup[1:]], copy, dump]


def watch(terminal: Terminal) -> list[Text]:
    """The screen when two rows have a bar in their middle and the failure is told."""
    found, until = None, time.monotonic() + 60
    while terminal.read() and time.monotonic() < until:
        shares = [int(share) for share in re.findall(r"(\d+)% eta", terminal.text())]
        if found is None and "last lines" in terminal.text() and len(shares) == 2 and min(shares) >= 30:
            found = terminal.lines()
    if status := terminal.close():
        raise SystemExit(f"the scene failed with status {status}:\n{terminal.text()}")
    if found is None:
        raise SystemExit(f"the screen never showed what is to be seen; at the end:\n{terminal.text()}")
    return found


def entries(url: str) -> list[Text]:
    """Everything that Loki has, in the order of its times."""
    query = '{app="nightly"}'
    span = {"start": 0, "end": time.time_ns() + 10**9, "limit": 5000, "direction": "forward"}
    address = f"{url}/loki/api/v1/query_range?{urllib.parse.urlencode({'query': query, **span})}"
    with urllib.request.urlopen(address) as answer:
        streams = json.load(answer)["data"]["result"]
    found = [
        (int(entry[0]), stream["stream"], entry[1])
        for stream in streams
        for entry in stream["values"]
        if entry[1].strip()
    ]
    lines = [Text(f"GET /loki/api/v1/query_range?query={query}", style="bold"), Text()]
    for stamp, labels, line in sorted(found, key=lambda one: one[0]):
        moment = datetime.fromtimestamp(stamp / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]
        level = labels.get("level") or labels.get("detected_level") or ""
        style = {"warn": "yellow", "warning": "yellow", "error": "bold red", "critical": "bold red"}.get(
            level, "green"
        )
        row = Text(no_wrap=True)
        row.append(f"{moment} ", "dim").append(f"{level:<8}", style).append(
            f"{labels.get('program', ''):<15}", "cyan"
        )
        lines.append(row.append(line))
    return lines


def shorten(lines: list[Text], most: int = 24) -> list[Text]:
    """Leave out updates of progress where there are too many lines."""
    updates = [line for line in lines if re.search(r"kB \(|MB/s", line.plain)]
    for line in updates[: max(0, len(lines) - most)]:
        lines.remove(line)
    return lines


def main(folder: Path = HERE) -> None:
    """Run the scene and draw both pictures into a folder."""
    cluster = load("tests/pg.py").Cluster(megabytes=60)
    server = load("integrations/loki/tests/lokiserver.py").LokiServer()
    try:
        with tempfile.TemporaryDirectory() as work:
            words = json.dumps(commands(cluster, Path(work)))
            screen = watch(Terminal([sys.executable, "-c", SCENE, server.url, words, work]))
        pictures = {"terminal": svg(screen, "python nightly.py", "terminal")}
        pictures["loki"] = svg(shorten(entries(server.url)), "the same run, asked back from Loki", "loki")
    finally:
        server.stop()
        cluster.close()
    for name, picture in pictures.items():
        (folder / f"{name}.svg").write_text(picture)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

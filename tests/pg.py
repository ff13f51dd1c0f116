"""A real PostgreSQL cluster for tests, run by an unprivileged user."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

USER = "postgres"


def programs():
    """Folder of the newest PostgreSQL's programs."""
    found = sorted(
        glob.glob("/usr/lib/postgresql/*/bin/pg_basebackup"), key=lambda path: float(path.split("/")[4])
    )
    if not found:
        raise RuntimeError("PostgreSQL is missing: apt-get install postgresql")
    return Path(found[-1]).parent


class Cluster:
    """A running server with `megabytes` of data, on a free port of 127.0.0.1, without passwords."""

    def __init__(self, megabytes=60):
        self.bin = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="subwatch-pg-"))
        self.prefix = []
        if os.geteuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam(USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.prefix = ["runuser", "-u", USER, "--"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.data = self.folder / "data"
        try:
            self.call("initdb", "-D", self.data, "-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8")
            with (self.data / "postgresql.conf").open("a") as file:
                file.write(
                    f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{self.folder}'\n"
                    "fsync = off\nfull_page_writes = off\nwal_level = replica\nmax_wal_senders = 4\n"
                )
            self.call("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", "60", "start")
            self.sql(
                f"create table filler as select n, repeat(md5(n::text), 30) as text"
                f" from generate_series(1, {megabytes * 1000}) as n; checkpoint"
            )
        except BaseException:
            self.close()
            raise

    def command(self, name, *args):
        """A command line that runs one of the programs as the unprivileged user."""
        return [*self.prefix, str(self.bin / name), *map(str, args)]

    def call(self, name, *args):
        subprocess.run(
            self.command(name, *args), check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd="/", timeout=120
        )  # fmt: skip

    def sql(self, text):
        self.call("psql", "-X", "-q", "-h", "127.0.0.1", "-p", self.port, "-U", USER, "-d", USER, "-c", text)

    def backup(self, target, *options):
        """The command line of a backup that says how far it is."""
        connection = ("-h", "127.0.0.1", "-p", self.port, "-U", USER)
        return self.command("pg_basebackup", "-D", target, "-v", "-P", "-c", "fast", *options, *connection)

    def close(self):
        """Stop the server and remove everything."""
        if (self.data / "postmaster.pid").exists():
            self.call("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

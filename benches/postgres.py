"""A throw-away PostgreSQL for benches, with the durability that it has in life."""

import contextlib
import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

from common import free_port, spawn, wait


class Cluster:
    """One database server; its data lie where the bench's other data do, so that both stores wait for the same disk."""

    def __init__(self, folder):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        if not found:
            raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
        self.programs, self.port = pathlib.Path(found[-1]).parent, free_port()
        # initdb refuses root, and the way to a socket must be short.
        self.owner = "postgres" if os.geteuid() == 0 else None
        self.data, self.sockets = folder / "postgres", pathlib.Path(tempfile.mkdtemp(prefix="pg"))
        self.data.mkdir()
        os.chmod(folder, 0o755)
        os.chmod(folder.parent, 0o755)
        if self.owner:
            known = pwd.getpwnam(self.owner)
            for one in (self.data, self.sockets):
                os.chown(one, known.pw_uid, known.pw_gid)
        os.chmod(self.sockets, 0o755)
        arguments = ["-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run([self.programs / "initdb", *arguments], check=True, stdout=subprocess.DEVNULL, **self.as_owner())
        settings = {
            "listen_addresses": "",
            "port": self.port,
            "unix_socket_directories": self.sockets,
            "max_connections": 200,
            "shared_buffers": "512MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.log = open(folder / "postgres.log", "ab")
        command = [self.programs / "postgres", "-D", self.data, *options]
        self.process = spawn(command, stdout=self.log, stderr=self.log, **self.as_owner())
        wait("PostgreSQL", lambda: self.ask("SELECT 1", "postgres") == "1", 60)

    def as_owner(self):
        return {"user": self.owner, "group": self.owner, "cwd": "/"} if self.owner else {}

    def ask(self, statement, database):
        arguments = ["-h", self.sockets, "-p", str(self.port), "-U", "postgres", "-d", database, "-Atc", statement]
        done = subprocess.run([self.programs / "psql", *arguments], capture_output=True, text=True, **self.as_owner())
        return done.stdout.strip()

    def database(self, name):
        """A new one; gives its URL."""
        self.ask(f"CREATE DATABASE {name}", "postgres")
        return f"postgres:///{name}?user=postgres&host={self.sockets}&port={self.port}"

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        shutil.rmtree(self.sockets, ignore_errors=True)


@contextlib.contextmanager
def store(asked, site):
    """The URL of a new database where `--store postgres` asks for one; `None`: a file."""
    if asked.store != "postgres":
        yield None
        return
    cluster = Cluster(site.folder)
    try:
        yield cluster.database("origo")
    finally:
        cluster.stop()


def who(asked):
    """What a row of the table is about."""
    return f"{asked.daemons} on {'PostgreSQL' if asked.store == 'postgres' else 'SQLite'}"

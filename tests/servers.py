"""Database servers for tests: real ones, started on loopback for the session.

Nothing is installed: where a server's programs are missing, the tests that need
it are skipped with the command that would install them. Each server has a data
folder of its own, a free port, an owner (`url_admin`) and a role that may only
read (`url_reader`). The servers are stopped at the end, also after Ctrl-C.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

START_SECONDS = 30.0
DATABASE = "plainsql"


@dataclass
class Server:
    """One running server. `create` makes databases, the roles are the same in all."""

    scheme: str
    port: int
    folder: Path
    command: list[str]
    admin: str
    admin_password: str = "adm1n secret/@:"  # must be escaped in a URL, as real ones
    reader: str = "plainsql_reader"
    reader_password: str = "canary-r3ader-secret"
    host: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url_admin(self) -> str:
        """The URL of the default database for its owner."""
        return self.url(DATABASE, admin=True)

    @property
    def url_reader(self) -> str:
        """The URL of the default database for the role that may only read."""
        return self.url(DATABASE)

    def url(self, database: str, *, admin: bool = False) -> str:
        """The URL of `database` for its owner or the reader."""
        user, password = (
            (self.admin, self.admin_password) if admin else (self.reader, self.reader_password)
        )
        place = f"{self.host}:{self.port}/{quote(database, safe='')}"
        return f"{self.scheme}://{quote(user)}:{quote(password, safe='')}@{place}"

    def start(self) -> None:
        """Start the server (again) and wait until it answers."""
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [*dies_with_us(), *self.command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **run_as(self.folder),
            )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                text = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.command[0]} did not start:\n{text}")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether the owner can connect."""
        raise NotImplementedError

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop the server with a signal, and wait until it is gone."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop the server at once and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgreSQLServer(Server):
    """PostgreSQL; SIGQUIT stops it as `pg_ctl stop -m immediate` does."""

    def connect(self, database: str = DATABASE, *, admin: bool = True) -> Any:
        """A plain autocommit connection of psycopg; use it in `with`."""
        import psycopg

        return psycopg.connect(self.url(database, admin=admin), autocommit=True, connect_timeout=10)

    def answers(self) -> bool:
        import psycopg

        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def sql(self, script: str, database: str = DATABASE) -> None:
        """Run a script of statements as the owner."""
        with self.connect(database) as connection:
            connection.execute(script.encode())

    def create(self, database: str, script: str = "", schemas: tuple[str, ...] = ()) -> None:
        """A fresh database made by `script`, whose tables the reader may read.

        `schemas` are those with tables, beside public.
        """
        with self.connect("postgres") as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{database}"')
        self.sql(script, database)
        self.let_read(database, schemas)

    def let_read(self, database: str, schemas: tuple[str, ...] = ()) -> None:
        """Give the reader the right to read what is in the database by now."""
        grants = [f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC']
        grants += [f'GRANT CONNECT ON DATABASE "{database}" TO {self.reader}']
        for schema in ("public", *schemas):
            grants += [
                f'REVOKE ALL ON SCHEMA "{schema}" FROM PUBLIC',
                f'GRANT USAGE ON SCHEMA "{schema}" TO {self.reader}',
                f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO {self.reader}',
                f'REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA "{schema}" FROM PUBLIC',
            ]
        self.sql("; ".join(grants), database)


class MariaDBServer(Server):
    """MariaDB. It offers TLS where openssl is installed: `certificate` is its own issuer."""

    certificate: Path | None = None

    def connect(self, database: str = DATABASE, *, admin: bool = True) -> Any:
        """A plain autocommit connection of PyMySQL that takes scripts; use it in `with`."""
        import pymysql
        from pymysql.constants import CLIENT

        user, password = (
            (self.admin, self.admin_password) if admin else (self.reader, self.reader_password)
        )
        return pymysql.connect(
            host=self.host, port=self.port, user=user, password=password, database=database,
            autocommit=True, charset="utf8mb4", client_flag=CLIENT.MULTI_STATEMENTS,
            ssl_disabled=True,
        )  # fmt: skip

    def answers(self) -> bool:
        import pymysql

        try:
            self.connect("mysql").close()
        except pymysql.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        super().stop(how)

    def sql(self, script: str, database: str = DATABASE) -> None:
        """Run a script of statements as the owner."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(script)
            while cursor.nextset():
                pass

    def create(self, database: str, script: str = "") -> None:
        """A fresh database made by `script`, whose tables the reader may read."""
        name = "`" + database.replace("`", "``") + "`"
        pattern = name.replace("_", "\\_").replace("%", "\\%")  # GRANT takes a pattern
        self.sql(
            f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4;"
            f"GRANT SELECT, SHOW VIEW ON {pattern}.* TO '{self.reader}'@'{self.host}'",
            "mysql",
        )
        if script.strip():
            self.sql(script, database)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_as(folder: Path) -> dict[str, Any]:
    """How to start a server's process: as the owner of `folder`. Servers refuse root."""
    import pwd  # not there on Windows, where these tests are skipped

    owner = pwd.getpwuid(folder.stat().st_uid)
    if owner.pw_uid == os.getuid():
        return {"cwd": folder}
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": [], "cwd": folder}


def dies_with_us() -> list[str]:
    """The start of a command that ends when this process does, however that comes about."""
    setpriv = shutil.which("setpriv")  # of util-linux
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def data_folder(name: str, *users: str) -> Path:
    """A new folder that belongs to the first of `users` there is, if we are root.

    Not below pytest's own folder, which other users may not enter.
    """
    import pwd

    folder = Path(tempfile.mkdtemp(prefix=f"plainsql-{name}-"))
    if os.getuid() == 0:
        known = {user.pw_name for user in pwd.getpwall()}
        owner = next(user for user in (*users, "nobody") if user in known)
        shutil.chown(folder, owner, pwd.getpwnam(owner).pw_gid)
    return folder


def program(name: str, install: str, *folders: str) -> Path:
    """The program `name` on the path or in `folders` (globs, the last wins); else skip."""
    places = [place for folder in folders for place in sorted(Path("/").glob(f"{folder}/{name}"))]
    found = shutil.which(name)
    if not (places or found):
        pytest.skip(f"{name} is not installed: {install}")
    return Path(found) if found else places[-1]


def started_postgresql() -> PostgreSQLServer:
    """A new server with an empty database "plainsql" and the role that may only read."""
    pytest.importorskip("psycopg", reason="pip install 'plainsql[postgresql]'")
    postgres = program("postgres", "apt-get install postgresql", "usr/lib/postgresql/*/bin")
    folder = data_folder("postgresql", "postgres")
    server = PostgreSQLServer("postgresql", free_port(), folder, [], "postgres")
    data = folder / "data"
    secret = folder / "password"
    secret.write_text(server.admin_password)
    secret.chmod(0o644)
    subprocess.run(
        [
            postgres.with_name("initdb"), "-D", data, "-U", server.admin, f"--pwfile={secret}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        ],
        check=True, capture_output=True, **run_as(folder),
    )  # fmt: skip
    server.command = [
        str(postgres), "-D", str(data), "-p", str(server.port), "-h", server.host,
        "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=60",
        "-c", "shared_buffers=64MB",
    ]  # fmt: skip
    server.start()
    password = server.reader_password
    server.sql(
        f"CREATE ROLE {server.reader} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT "
        f"NOREPLICATION PASSWORD '{password}'",
        "postgres",
    )
    server.create(DATABASE)
    return server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """A PostgreSQL server for the whole session; make databases with `create`."""
    server = started_postgresql()
    atexit.register(server.close)
    try:
        yield server
    finally:
        server.close()


def started_mariadb() -> MariaDBServer:
    """A new server with an empty database "plainsql" and a user who may only read."""
    pytest.importorskip("pymysql", reason="pip install 'plainsql[mysql]'")
    install = "apt-get install mariadb-server"
    mariadbd = program("mariadbd", install, "usr/sbin", "usr/libexec")
    install_db = program("mariadb-install-db", install, "usr/bin")
    folder = data_folder("mariadb", "mysql")
    server = MariaDBServer("mysql", free_port(), folder, [], "plainsql_owner")
    own_user = [] if os.getuid() else [f"--user={folder.owner()}"]
    subprocess.run(
        [
            install_db, "--no-defaults", f"--datadir={folder / 'data'}", "--skip-test-db",
            "--auth-root-authentication-method=normal", "--innodb-flush-method=nosync",
            *own_user,
        ],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    (folder / "init.sql").write_text(
        f"CREATE OR REPLACE USER {server.admin}@'{server.host}' "
        f"IDENTIFIED BY '{server.admin_password}';\n"
        f"GRANT ALL ON *.* TO {server.admin}@'{server.host}' WITH GRANT OPTION;\n"
        f"CREATE USER IF NOT EXISTS {server.reader}@'{server.host}' "
        f"IDENTIFIED BY '{server.reader_password}';\n"
        f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;\n"
        f"GRANT SELECT, SHOW VIEW ON {DATABASE}.* TO {server.reader}@'{server.host}';\n"
    )
    server.certificate = _self_signed(folder, server.host)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o777)
    server.command = [
        str(mariadbd), "--no-defaults", f"--datadir={folder / 'data'}", f"--port={server.port}",
        f"--bind-address={server.host}", f"--socket={folder / 'socket'}", "--skip-name-resolve",
        f"--pid-file={folder / 'pid'}", f"--init-file={folder / 'init.sql'}",
        f"--tmpdir={folder / 'tmp'}",
        "--skip-log-bin", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=0", "--performance-schema=OFF",
    ]  # fmt: skip
    if server.certificate is not None:
        server.command += [f"--ssl-cert={server.certificate}", f"--ssl-key={folder / 'key.pem'}"]
    server.start()
    return server


def _self_signed(folder: Path, host: str) -> Path | None:
    """A certificate for `host` in `folder`, beside its key; None without openssl."""
    if shutil.which("openssl") is None:
        return None
    certificate = folder / "certificate.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=plainsql test", "-addext",
            f"subjectAltName=IP:{host}", "-keyout", folder / "key.pem", "-out", certificate,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "key.pem").chmod(0o644)
    return certificate


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """A MariaDB server for the whole session; make databases with `create`."""
    server = started_mariadb()
    atexit.register(server.close)
    try:
        yield server
    finally:
        server.close()

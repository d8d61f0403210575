"""Which database a user means: a path or a URL, taken apart once for every engine.

What a URL may ask of a driver is an allow-list (for drivers we don't know, a
deny-list): parameters can make a client read files, run statements on connect
or open a file for writing. Secrets are kept out of every text that is shown.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from plainsql.errors import ConnectError, UsageError
from plainsql.execution.redaction import redact, remember_secret

__all__ = ["DATA_SUFFIXES", "Kind", "Target", "parse_target", "redact"]

Kind = Literal["sqlite", "duckdb", "files", "postgresql", "mysql", "sqlalchemy"]

SUPPORTED = (
    "an SQLite or DuckDB file, a folder (or glob) of CSV, TSV, Parquet, JSON or JSONL files,"
    " postgresql://user@host/database, mysql://user@host/database, or another SQLAlchemy URL"
)
DATA_SUFFIXES = (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".ndjson")
_COMPRESSED = (".csv.gz", ".tsv.gz", ".json.gz", ".jsonl.gz", ".ndjson.gz")
_DUCKDB_SUFFIXES = (".duckdb", ".ddb")

# Schemes whose engine is ours; any other goes to SQLAlchemy.
_KINDS: dict[str, Kind] = {
    "sqlite": "sqlite", "sqlite+pysqlite": "sqlite", "duckdb": "duckdb",
    "postgresql": "postgresql", "postgres": "postgresql", "postgresql+psycopg": "postgresql",
    "mysql": "mysql", "mariadb": "mysql", "mysql+pymysql": "mysql", "mariadb+pymysql": "mysql",
}  # fmt: skip
_NO_DATABASES = frozenset({"file", "http", "https", "ftp", "s3", "gs", "data", "jdbc", "ssh"})

_POSTGRESQL_OPTIONS = frozenset(
    "host port user password dbname sslmode sslrootcert connect_timeout application_name"
    " target_session_attrs channel_binding gssencmode require_auth keepalives keepalives_idle"
    " keepalives_interval keepalives_count tcp_user_timeout".split()
)
_MYSQL_OPTIONS = frozenset(
    "user password charset unix_socket connect_timeout ssl ssl_ca ssl_verify_cert"
    " ssl_verify_identity ssl_mode".split()
)
# Of drivers we don't know: what reads or loads files, opens for writing, runs SQL, loads code.
_FORBIDDEN_OPTIONS = frozenset(
    "service servicefile passfile sslkey sslcert sslpassword options mode vfs uri immutable"
    " local_infile allow_local_infile allow_local_infile_in_path init_command read_default_file"
    " read_default_group option_files option_groups plugin plugin_dir auth_plugin_map"
    " odbc_connect filedsn savefile init_sql connect_args creator poolclass module"
    " client_flag client_flags conv cursorclass defer_connect multi_statements"
    " unix_socket_command ssl_key".split()
)
_SECRET_OPTIONS = re.compile(r"(?i)pass|pwd|secret|token|key|credential")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://|$)")
_MISTYPED = re.compile(r"://|:.+@")  # a URL that lacks a letter: no path to be repeated
_DSN = re.compile(r"(?i)\s*(host|hostaddr|dbname|user|password|service|port)\s*=")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:]*)(?::(\d*))?")
_DUCKDB_MAGIC = slice(8, 12)


@dataclass(frozen=True, slots=True)
class Target:
    """One database, taken apart. `repr` and `str` show no secret.

    `url` is the text as given and may hold a password: for drivers only.
    `path` is the file, or the folder of data files; `files` are these, sorted
    by name. Host, port, user, password, database and `options` (name, value)
    are percent-decoded; "" and None where the URL has none. `cache_dir` is where
    large data files are kept once they are converted; "" is the user's cache folder.
    """

    kind: Kind
    url: str = field(repr=False)
    path: Path | None = None
    files: tuple[Path, ...] = field(default=(), repr=False)
    scheme: str = ""
    host: str = ""
    port: int | None = None
    user: str = field(default="", repr=False)
    password: str | None = field(default=None, repr=False)
    database: str = ""
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cache_dir: str = ""

    @property
    def name(self) -> str:
        """The path, or the URL without user, password and parameters: for messages."""
        if self.kind == "files":
            return self.url
        if self.path is not None:
            return str(self.path)
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        # Account-like hosts and odd database names may hold what is a secret elsewhere.
        return redact(f"{self.scheme}://{host}{port}/{self.database}")

    @property
    def identity(self) -> str:
        """What tells this database from others in caches: the name, and who looks at it."""
        if self.kind == "files":
            return f"files:{Path(self.url).expanduser().absolute()}"
        if self.path is not None:
            return f"{self.kind}:{self.path.resolve()}"
        sockets = [value for key, value in self.options if key in ("host", "unix_socket")]
        return f"{self.kind}:{self.name}:{redact(self.user)}:{','.join(sockets)}"

    def option(self, name: str) -> str | None:
        """The value of a parameter of the URL, the last one where it is repeated."""
        return dict(self.options).get(name)

    def __str__(self) -> str:
        return self.name


def parse_target(text: str | os.PathLike[str]) -> Target:
    """The database that `text`, a path or URL, names.

    A file is told by its first bytes, then by its suffix. Nothing is opened but
    the file's head. Raises UsageError for what can't be a database or asks for
    a dangerous parameter, ConnectError for a folder or glob without data files.
    """
    target = os.fspath(text)
    if not isinstance(target, str) or not target.strip():
        raise _unsupported("No database was named.")
    if re.search(r"[\x00-\x1f\x7f]", target):
        raise _unsupported("The name of the database has a control character in it.")
    if isinstance(text, os.PathLike):
        return _of_path(target)
    scheme = _SCHEME.match(target)
    if scheme is not None:
        return _of_url(target, scheme[1].lower(), target[scheme.end() :])
    return _of_path(target)


# Paths


def _of_path(text: str) -> Target:
    try:
        return _of_readable_path(text)
    except OSError as error:  # a name too long, a folder that may not be entered
        raise ConnectError(
            f"Can't read {redact(text)}: {error.strerror}.", hint="Check the path."
        ) from error


def _of_readable_path(text: str) -> Target:
    if text == ":memory:":
        raise _unsupported("An in-memory database has nothing to ask about.")
    path = Path(os.path.expanduser(text))
    if path.is_dir():
        levels = (_data_files(path.glob(below)) for below in ("*", "*/*", "*/*/*"))
        return _files(text, path, next(filter(None, levels), ()))
    if path.exists():
        return _of_file(text, path)
    if text.startswith("file:"):
        raise _unsupported("file: URIs are not read; give the path itself.")
    if _MISTYPED.search(text):
        raise _to_be_encoded()
    if _DSN.match(text):
        raise _unsupported("A connection string of the form key=value is not read.")
    if glob.has_magic(text):
        found = _data_files(map(Path, glob.iglob(os.path.expanduser(text), recursive=True)))
        return _files(text, Path(os.path.dirname(os.path.expanduser(text)) or "."), found)
    if _is_data(path):
        raise ConnectError(f"There is no file {redact(text)}.", hint="Check the path.")
    return Target(_kind_by_suffix(path), text, path)


def _of_file(text: str, path: Path) -> Target:
    kind = _kind_of_file(path)
    return _files(text, path, (path,)) if kind == "files" else Target(kind, text, path)


def _kind_of_file(path: Path) -> Kind:
    """By the first bytes, then by the suffix; SQLite's engine says what else is wrong."""
    head = b""
    if path.is_file():  # a device or pipe might never end a read
        try:
            with path.open("rb") as file:
                head = file.read(16)
        except OSError:
            head = b""  # the engine says why it can't be read
    if head == b"SQLite format 3\x00":
        return "sqlite"
    if head[_DUCKDB_MAGIC] == b"DUCK":
        return "duckdb"
    return _kind_by_suffix(path)


def _kind_by_suffix(path: Path) -> Kind:
    if _is_data(path):
        return "files"
    return "duckdb" if path.suffix.lower() in _DUCKDB_SUFFIXES else "sqlite"


def _is_data(path: Path) -> bool:
    return path.name.lower().endswith((*DATA_SUFFIXES, *_COMPRESSED))


def _data_files(paths: Iterable[Path]) -> tuple[Path, ...]:
    found = (path for path in paths if _is_data(path) and not path.name.startswith("."))
    return tuple(sorted(path for path in found if path.is_file()))


def _files(text: str, path: Path, files: tuple[Path, ...]) -> Target:
    if not files:
        raise ConnectError(
            f"{redact(text)} holds no data files.",
            hint=f"Files ending in {', '.join(DATA_SUFFIXES)} become tables.",
        )
    return Target("files", text, path, files)


# URLs. Messages never repeat them: a mistyped one may show its password anywhere.


def _of_url(text: str, scheme: str, rest: str) -> Target:
    if scheme in _NO_DATABASES:
        raise _unsupported(f"Databases of the kind {scheme}:// are not supported.")
    kind = _KINDS.get(scheme, "sqlalchemy")
    if kind in ("sqlite", "duckdb"):
        return _of_file_url(text, kind, rest)
    if scheme.startswith(("sqlite", "duckdb")):  # would go round the protections of our own
        raise _unsupported(f"Write {scheme.split('+')[0]}:/// and the path.")
    return _of_server_url(text, kind, scheme, rest)


def _of_file_url(text: str, kind: Kind, rest: str) -> Target:
    hostile = "?" in rest or rest.startswith(("/file:", "/:"))
    if not rest.startswith("/") or len(rest) < 2 or hostile:
        name = {"sqlite": "An SQLite", "duckdb": "A DuckDB"}[kind]
        raise _unsupported(f"{name} URL is {kind}:/// and a path, without parameters.")
    return Target(kind, text, Path(os.path.expanduser(rest[1:])), scheme=kind)


def _of_server_url(text: str, kind: Kind, scheme: str, rest: str) -> Target:
    place, _, query = rest.partition("?")
    authority, _, database = place.partition("/")
    login, _, host_port = authority.rpartition("@")
    user, colon, password = login.partition(":")
    secret = _decoded(password) if colon else None
    remember_secret(secret or "")
    options = _options(query, kind)
    by_option = dict(options)
    if kind in ("postgresql", "mysql"):
        user = _decoded(user) or by_option.get("user", "")
        secret = secret if secret is not None else by_option.get("password")
        options = tuple(pair for pair in options if pair[0] not in ("user", "password"))
    host, port = _host_and_port(host_port)
    if "@" in database:
        raise _to_be_encoded()
    return Target(
        kind,
        text,
        scheme=scheme,
        host=host,
        port=port,
        user=user if kind in ("postgresql", "mysql") else _decoded(user),
        password=secret,
        database=_decoded(database),
        options=options,
    )


def _host_and_port(text: str) -> tuple[str, int | None]:
    """The two halves of `host:port`; an IPv6 address stands in brackets."""
    parts = _HOST.fullmatch(text)
    if parts is None:
        raise _to_be_encoded()
    port = int(parts[2]) if parts[2] else None
    if port is not None and not 0 < port < 65536:
        raise _unsupported("The URL's port is not between 1 and 65535.")
    return _decoded(parts[1].strip("[]")), port


def _options(query: str, kind: Kind) -> tuple[tuple[str, str], ...]:
    """The parameters, decoded and found harmless. Raises UsageError."""
    pairs = []
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        pair = (_decoded(name).strip(), _decoded(value))
        if _SECRET_OPTIONS.search(pair[0]):
            remember_secret(pair[1])
        if not equals:
            raise _to_be_encoded()
        _check_option(*pair, kind)
        pairs.append(pair)
    return tuple(pairs)


def _check_option(name: str, value: str, kind: Kind) -> None:
    key = name.lower()
    allowed = {"postgresql": _POSTGRESQL_OPTIONS, "mysql": _MYSQL_OPTIONS}.get(kind)
    if key in _FORBIDDEN_OPTIONS:
        raise _unsupported(f"The parameter {key} is not allowed in the URL of a database.")
    if allowed is not None and name not in allowed:
        raise UsageError(
            "The URL has a parameter that is not known.",
            hint=f"Parameters: {', '.join(sorted(allowed))}.",
        )
    if key == "driver" and re.search(r"[/\\;{}]", value):
        raise _unsupported("A driver is given by its name, not as the path of a library.")


def _decoded(text: str) -> str:
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _unsupported("The URL holds %-codes that are no UTF-8.") from None
    if re.search(r"[\x00-\x1f\x7f]", plain):
        remember_secret(plain)
        raise _unsupported("The URL has a control character in it.")
    return plain


def _to_be_encoded() -> UsageError:
    return UsageError(
        "The URL of the database can't be taken apart.",
        hint="It is scheme://user:password@host:port/database?name=value; in a user or password"
        " write / as %2F, ? as %3F, : as %3A, @ as %40, % as %25.",
    )


def _unsupported(message: str) -> UsageError:
    return UsageError(message, hint=f"Supported: {SUPPORTED}.")

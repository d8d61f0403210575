"""Connections to MySQL and MariaDB: how they are opened, reset and cut off.

PyMySQL has no public way to reset a session, to give up a result in the middle
or to wake a thread that waits for the server. `Link` adds the three; it is the
only place that touches the driver's inner parts (PyMySQL 1.1 and 1.2).
"""

from __future__ import annotations

import getpass
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pymysql.connections import Connection
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor, SSCursor
from pymysql.err import OperationalError

from plainsql.errors import ResourceLimit, UsageError
from plainsql.execution.mysql_values import DECODERS
from plainsql.execution.redaction import remember_secret
from plainsql.execution.targets import Target

CONNECT_SECONDS = 10.0
_COM_RESET_CONNECTION = 0x1F  # MySQL 5.7.3, MariaDB 10.2.4
_TLS_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})
_PASSWORD_ASKED = 2059  # CR_AUTH_PLUGIN_CANNOT_LOAD


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach one server. `repr` shows no password."""

    arguments: dict[str, Any]
    tls: ssl.SSLContext | None
    tls_mode: str
    connect_seconds: float

    def __repr__(self) -> str:
        return f"Login({self.arguments.get('host')!r}, tls_mode={self.tls_mode!r})"


_read_bytes = Connection._read_bytes


class Link(Connection):  # type: ignore[misc, unused-ignore]
    """One connection whose results are never kept as a whole."""

    @property
    def is_tls(self) -> bool:
        """Whether what is sent is encrypted."""
        return isinstance(self._sock, ssl.SSLSocket)

    @property
    def is_reading(self) -> bool:
        """Whether rows of a result are still to come."""
        return self._result is not None and bool(self._result.unbuffered_active)

    received = 0  # bytes, since `count_from_here`
    _most_received = 0  # 0: any number

    def wait_at_most(self, seconds: float | None) -> None:
        """How long the server may stay silent from now on; None: for ever."""
        self._read_timeout = seconds

    def count_from_here(self, most: int) -> None:
        """Begin to count `received`; past `most` bytes, reading raises ResourceLimit."""
        self.received, self._most_received = 0, most

    def _read_bytes(self, num_bytes: int) -> bytes:
        """The driver's, counted: rows come one by one and each may be very large."""
        self.received += num_bytes
        if self.received > self._most_received > 0:
            raise ResourceLimit(
                f"A row of the result is larger than {self._most_received / 1e6:g} MB.",
                hint="Ask for fewer or shorter columns.",
            )
        data: bytes = _read_bytes(self, num_bytes)  # super() costs as much as the rest of this
        return data

    def rows_of(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """All rows of a statement of our own."""
        with self.cursor(Cursor) as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def opened(self, sql: str) -> SSCursor:
        """A cursor over the rows of `sql` as they come."""
        cursor = self.cursor(SSCursor)
        cursor.execute(sql)
        return cursor

    def reset(self) -> None:
        """End the transaction and forget variables, locks and temporary tables."""
        self._execute_command(_COM_RESET_CONNECTION, b"")
        self._read_ok_packet()

    def cut(self) -> None:
        """Wake whoever waits for the server, from another thread."""
        sock = self._sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Close without reading the rest of a result, which can be long."""
        if self._result is not None:
            self._result.unbuffered_active = False
            self._result.connection = None
        self._force_close()


def login_of(target: Target) -> Login:
    """How to log in to the server that a URL names.

    The password is the URL's, else that of MYSQL_PWD. Raises UsageError for
    parameters that can't be understood.
    """
    password = target.password if target.password is not None else os.environ.get("MYSQL_PWD", "")
    remember_secret(password)
    if (target.option("charset") or "utf8mb4").lower() not in ("utf8mb4", "utf8"):
        raise UsageError("The character set is always utf8mb4.", hint="Leave charset out.")
    mode = _tls_mode(target)
    seconds = _seconds(target.option("connect_timeout"))
    arguments = {
        "host": target.host or "localhost",
        "port": target.port or 3306,
        "user": target.user or getpass.getuser(),
        "password": password.encode(),  # PyMySQL encodes text as Latin-1
        "database": target.database or None,
        "unix_socket": target.option("unix_socket"),
    }
    tls = None if mode == "DISABLED" or arguments["unix_socket"] else _tls_context(target, mode)
    return Login(arguments, tls, mode, seconds)


def connect(login: Login, *, seconds: float | None = None) -> Link:
    """A new connection. Raises what PyMySQL raises.

    With PREFERRED, a server that has no TLS is talked to in the clear.
    """
    wait = min(login.connect_seconds, seconds or login.connect_seconds)
    try:
        return _connected(login, wait, login.tls)
    except OperationalError as error:
        unwilling = "doesn't support" in str(error) and "SSL" in str(error)
        if login.tls_mode != "PREFERRED" or not unwilling:
            raise
    return _connected(login, wait, None)


def _connected(login: Login, seconds: float, tls: ssl.SSLContext | None) -> Link:
    link = Link(
        **login.arguments,
        charset="utf8mb4",
        conv=DECODERS,
        autocommit=None,
        local_infile=False,
        client_flag=0,  # no MULTI_STATEMENTS: one statement a call
        connect_timeout=max(seconds, 0.05),
        read_timeout=max(seconds, 0.05),
        program_name="plainsql",
        ssl=tls,
        ssl_disabled=tls is None,
        auth_plugin_map={} if login.tls_mode in _TLS_MODES[2:] else _NO_CLEAR_TEXT,
        defer_connect=True,
    )
    link.connect(_unix_socket(login, seconds))
    if login.tls_mode in _TLS_MODES[2:] and tls is not None and not link.is_tls:
        link.drop()  # older drivers go on in the clear
        raise OperationalError(2026, "SSL is required but the server doesn't support it")
    link.client_flag &= ~CLIENT.MULTI_STATEMENTS
    return link


def _unix_socket(login: Login, seconds: float) -> socket.socket | None:
    """The server's socket file, where it is used; PyMySQL would leave a failed one open."""
    path = login.arguments["unix_socket"]
    if not path:
        return None
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.settimeout(seconds)
    try:
        opened.connect(os.path.expanduser(path))
    except OSError:
        opened.close()
        raise
    return opened


class _Refusal:
    """Answers a server that asks for the password itself: it could be anybody's."""

    def __init__(self, _: object) -> None:
        pass

    def authenticate(self, _: object) -> None:
        raise OperationalError(_PASSWORD_ASKED, "The server asks for the password in clear text")

    def prompt(self, _: bool, __: bytes) -> bytes:
        raise OperationalError(_PASSWORD_ASKED, "The server asks for the password in clear text")


_NO_CLEAR_TEXT = {"mysql_clear_password": _Refusal, "dialog": _Refusal}


def _tls_mode(target: Target) -> str:
    """One of MySQL's own modes, from ssl_mode or the parameters of its drivers."""
    mode = (target.option("ssl_mode") or "").upper()
    if mode:
        if mode not in _TLS_MODES:
            raise UsageError(
                "ssl_mode is not known.", hint=f"It is one of {', '.join(_TLS_MODES)}."
            )
        return mode
    if _flag(target, "ssl_verify_identity"):
        return "VERIFY_IDENTITY"
    if _flag(target, "ssl_verify_cert") or target.option("ssl_ca"):
        return "VERIFY_CA"
    wanted = target.option("ssl")
    if wanted is None:
        return "PREFERRED"
    return "REQUIRED" if _flag(target, "ssl") else "DISABLED"


def _flag(target: Target, name: str) -> bool:
    value = (target.option(name) or "").lower()
    if value not in _TRUE | _FALSE:
        raise UsageError(f"{name} is either true or false.", hint=f"Write {name}=true.")
    return value in _TRUE


def _tls_context(target: Target, mode: str) -> ssl.SSLContext:
    """Made once: reading the system's certificates takes 40 ms."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "VERIFY_IDENTITY"
    context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("VERIFY") else ssl.CERT_NONE
    if not mode.startswith("VERIFY"):
        return context
    authority = target.option("ssl_ca")
    try:
        if authority:
            context.load_verify_locations(os.path.expanduser(authority))
        else:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as error:
        message = "The certificates of ssl_ca can't be read."
        raise UsageError(message, hint="Give the path of a PEM file.") from error
    if hasattr(ssl, "VERIFY_X509_STRICT"):  # MySQL's own certificates don't pass it
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _seconds(text: str | None) -> float:
    try:
        seconds = CONNECT_SECONDS if text is None else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:
        raise UsageError("connect_timeout is a number of seconds, 3600 at most.")
    return seconds

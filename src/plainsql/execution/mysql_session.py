"""What every session with MySQL or MariaDB is set to before each query.

The text of the settings is sent anew before each query, in one statement, so
that nothing a query did to its session outlives it. `sql_mode` is empty: the
guard reads a text as the server does then (backslashes escape, double quotes
hold text, || is OR), whatever the server's own default is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from plainsql.execution.limits import Limits
from plainsql.execution.mysql_link import Link

MEMORY_BYTES = 256_000_000  # of a session, where the server can limit it (MariaDB)
_ALL_ROWS = 18_446_744_073_709_551_615
# Both end a recursion at 1,000 steps by default, MariaDB without an error. An endless
# one is ended after 0.06 s by this, so that its first rows (LIMIT) can be had at all.
_RECURSION = 100_000
_OPTIONAL = {
    "max_recursive_iterations": _RECURSION,  # MariaDB
    "cte_max_recursion_depth": _RECURSION,  # MySQL, an error
    "max_tmp_session_space_usage": 2_000_000_000,  # MariaDB 11.5
    "innodb_lock_wait_timeout": 1,
    "max_session_mem_used": MEMORY_BYTES,  # MariaDB 10.1
}
_DEADLINES = ("max_statement_time", "max_execution_time")  # MariaDB in s, MySQL in ms
_READ_ONLY = ("transaction_read_only", "tx_read_only")
_NAMES = ("lower_case_table_names", "version_comment")
# A killed SLEEP() ends like a finished one; it must end past the deadline, not before.
_MARGIN = 0.005


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server's sessions can be set to: those of these variables it has."""

    variables: dict[str, str]
    version: str

    @property
    def is_mariadb(self) -> bool:
        """Whether it is MariaDB, by its version's text."""
        return "mariadb" in (self.version + self.variables.get("version_comment", "")).lower()

    @property
    def deadline(self) -> str:
        """The variable that stops statements, "" where there is none."""
        return next((name for name in _DEADLINES if name in self.variables), "")

    @property
    def read_only(self) -> str:
        """The variable that makes transactions read-only."""
        return next((name for name in _READ_ONLY if name in self.variables), _READ_ONLY[0])

    def has(self, name: str) -> bool:
        """Whether there is such a variable."""
        return name in self.variables


def abilities(link: Link) -> Abilities:
    """What the server of `link` has. Raises what PyMySQL raises."""
    wanted = (*_OPTIONAL, *_DEADLINES, *_READ_ONLY, *_NAMES)
    names = ", ".join(f"'{name}'" for name in wanted)
    found = link.rows_of(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})")
    return Abilities(dict(found), str(link.get_server_info()))


def settings(able: Abilities, limits: Limits, seconds: float, most: int | None) -> str:
    """The statement that makes a session ready for one query.

    `seconds` are what is left of its time, `most` the rows that are wanted: the
    server stops by itself after them, where the query has no LIMIT of its own.
    """
    wanted: dict[str, object] = {
        "sql_mode": "''",
        "time_zone": "'+00:00'",
        able.read_only: 1,
        "lock_wait_timeout": 1,
        "net_write_timeout": max(60, math.ceil(seconds)),  # a reader may take its time
        "sql_select_limit": _ALL_ROWS if most is None else most,
        # one more than is shown, so that what is cut is known to be
        "group_concat_max_len": 4 * (limits.cell_chars + 1),
    }
    wanted |= {name: value for name, value in _OPTIONAL.items() if able.has(name)}
    if able.deadline == "max_statement_time":
        wanted[able.deadline] = f"{seconds + _MARGIN:.3f}"
    elif able.deadline:
        wanted[able.deadline] = math.ceil((seconds + _MARGIN) * 1000)
    pairs = (f"SESSION {name}={value}" for name, value in wanted.items())
    return "SET NAMES utf8mb4, " + ", ".join(pairs)

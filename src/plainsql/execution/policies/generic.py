"""What any other engine may do: the functions that mean the same nearly everywhere.

For dialects that plainsql has no policy of its own for (through SQLAlchemy):
plain standard SQL over listed tables, and nothing else.
"""

from __future__ import annotations

import re
from functools import lru_cache

from plainsql.execution.policies.base import ColumnCalls, Policy, words

FUNCTIONS = words(
    "abs avg ceil ceiling char_length character_length coalesce concat count cume_dist "
    "current_date current_time current_timestamp date date_trunc day dense_rank exp extract "
    "first_value floor greatest hour initcap lag last_value lead least left len length ln log "
    "log10 lower ltrim max median min minute mod month now nth_value ntile nullif nvl "
    "percent_rank percentile_cont position pow power quarter rank replace right round row_number "
    "rtrim second sign sqrt stddev stddev_pop stddev_samp string_agg substr substring sum to_char "
    "to_date trim trunc upper var_pop var_samp variance year"
)
_WORDS_BEFORE_PAREN = words(
    "all and any as between by case cast cube decimal distinct else except exists filter from "
    "group grouping having in intersect is join like limit not numeric offset on or over "
    "rollup select sets some then top union using values varchar char when where"
)
_RESERVED = re.compile(r"information_schema|pg_.*|sqlite_.*|duckdb_.*|v\$.*", re.DOTALL)

_UNSEPARATED = frozenset({"tsql", "fabric"})
# SQL Server needs no ";" between statements: SELECT 1 DELETE FROM t are two, which
# sqlglot reads as one with the alias "DELETE".
_STATEMENT_WORDS = words(
    "add alter analyze attach backup begin break bulk call checkpoint close comment commit "
    "continue copy create dbcc deallocate declare delete deny detach disable drop dump enable "
    "exec execute export get go goto grant if import insert into kill load lock merge "
    "move open optimize pragma prepare print proc procedure put raiserror readtext receive "
    "reconfigure refresh rename reset restore resume return revert revoke rollback save savepoint "
    "send set shutdown suspend system throw tran transaction truncate undrop unload unset update "
    "updatetext upsert use vacuum waitfor while writetext"
)


@lru_cache(maxsize=32)
def generic_policy(dialect: str) -> Policy:
    """The policy of a dialect that has none of its own."""
    return Policy(
        dialect=dialect,
        functions=FUNCTIONS,
        table_functions=frozenset(),
        first_words=words("select with values"),
        words_before_paren=_WORDS_BEFORE_PAREN,
        homes=frozenset(),
        reserved=_RESERVED,
        column_calls=ColumnCalls.ANY,
        refused_words=words(
            "current_user session_user user current_role current_catalog current_schema "
            "system_user nextval currval"
        ),
        statement_words=_STATEMENT_WORDS if dialect in _UNSEPARATED else frozenset(),
        quoted_functions=False,
        needs_list=True,
    )

"""What SQLite may do (https://www.sqlite.org/lang_corefunc.html and its neighbours)."""

from __future__ import annotations

import re

from plainsql.execution.policies.base import Policy, words

FUNCTIONS = words(
    # text, numbers, choice; without randomblob, zeroblob (memory), load_extension, changes,
    # total_changes, last_insert_rowid and sqlite_* (state of the connection)
    "abs char coalesce concat concat_ws format glob hex if ifnull iif instr length like likelihood "
    "likely lower ltrim max min nullif octet_length printf quote random replace round rtrim sign "
    "soundex substr substring trim typeof unhex unicode unlikely upper "
    # dates
    "current_date current_time current_timestamp date datetime julianday strftime time timediff "
    "unixepoch "
    # aggregates and windows
    "avg count cume_dist dense_rank first_value group_concat lag last_value lead median nth_value "
    "ntile percent_rank rank row_number string_agg sum total "
    # mathematics
    "acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 "
    "log2 mod pi pow power radians sin sinh sqrt tan tanh trunc "
    # reading JSON; not json_patch, whose cost is the product of two documents' sizes
    "json json_array json_array_length json_error_position json_extract json_group_array "
    "json_group_object json_object json_quote json_type json_valid"
)
TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})

# The catalogue, pragmas as tables, storage, statements, tables of the shell's extensions.
_RESERVED = re.compile(
    r"sqlite_.*|pragma_.*|bytecode|completion|dbstat|fsdir|generate_series|sqlar|stmt"
    r"|tables_used|zipfile",
    re.DOTALL,
)

# Words that may stand before "(" without being a function call.
_WORDS_BEFORE_PAREN = words(
    "all and as between by case cast distinct else except exists filter from having in intersect "
    "is join limit materialized not offset on or over select then union using values when where"
)

SQLITE = Policy(
    dialect="sqlite",
    functions=FUNCTIONS,
    table_functions=TABLE_FUNCTIONS,
    first_words=words("select with values"),
    words_before_paren=_WORDS_BEFORE_PAREN,
    homes=frozenset({"main"}),
    reserved=_RESERVED,
    has_spaces=False,
    forward_ctes=True,
    column_homes=frozenset({"main"}),
    format_functions=frozenset({"printf", "format"}),
    catalogue=words("sqlite_master sqlite_schema"),
    catalogue_functions=words(
        "pragma_table_info pragma_table_xinfo pragma_foreign_key_list pragma_index_list "
        "pragma_index_info"
    ),
)

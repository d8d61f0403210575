"""What the guard and the engines allow, as data. What is not listed is denied.

Names are lower case. A change here is a change of the security policy: run
`tests/test_guard.py`, and read the reason beside the group you touch.
"""

from __future__ import annotations

from dataclasses import dataclass


def words(text: str) -> frozenset[str]:
    """The space-separated words of `text`, as a set."""
    return frozenset(text.split())


# Text: caps checked before anything is parsed. sqlglot's parser is recursive
# Python: about 60 nested parentheses exhaust the default recursion limit.
MAX_CHARS = 20_000
MAX_TOKENS = 5_000
MAX_DEPTH = 32  # brackets and CASE ... END together
MAX_UNARY_RUN = 32  # NOT NOT NOT ..., - - - ...
MAX_KEYWORD_COUNT = 200  # CASE and NOT, each nests the parser once

STRUCTURE_NODES = words(
    "Select Union Except Intersect Subquery Values With CTE Table TableAlias From Join Where "
    "Group Having Order Ordered Limit Offset Distinct Star Column Identifier Alias Literal "
    "HexString Null Boolean Paren Tuple Window WindowSpec Filter Collate Var Cast DataType "
    "DataTypeParam Case If In Exists Between Like Glob Escape Is Not Neg BitwiseNot And Or "
    "EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ Add Sub Mul Div IntDiv Mod DPipe SafeDPipe "
    "BitwiseAnd BitwiseOr BitwiseLeftShift BitwiseRightShift"
)
FUNCTION_NODES = words(
    "Abs Acos Acosh Anonymous Asin Asinh Atan Atan2 Atanh Avg CastToStrType Ceil Chr Coalesce "
    "Concat ConcatWs Cos Cosh Count CumeDist CurrentDate CurrentTime CurrentTimestamp Date "
    "Degrees DenseRank Exp FirstValue Floor Format Greatest GroupConcat Hex JSONArrayAgg "
    "JSONExtract JSONExtractScalar JSONKeyValue JSONObject JSONObjectAgg JSONType Lag LastValue "
    "Lead Least Length Ln Log Lower Max Median Min NthValue Ntile Nullif PercentRank Pi Pow "
    "Radians Rand Rank Replace Round RowNumber Sign Sin Sinh Soundex Sqrt StrPosition Substring "
    "Sum Tan Tanh TimeToStr Trim Trunc TsOrDsToTimestamp Typeof Unhex Unicode Upper"
)

# Nodes that could carry a write, a lock or a hidden table in an argument.
NODE_ARGUMENTS: dict[str, frozenset[str]] = {
    "Select": words(
        "with_ expressions distinct from_ joins where group having order limit offset windows"
    ),
    "Table": words("this alias db joins"),
    "Subquery": words("this alias joins"),
    "Values": words("expressions alias with_"),
    "Join": words("this on using side kind method"),
    # not `field`: SQLite reads `x IN t` as a query over the table t
    "In": words("this expressions query"),
    "With": words("expressions recursive"),
    "CTE": words("this alias materialized"),
}

SQLITE_FUNCTIONS = words(
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
SQLITE_TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})

# Tables that SQLite makes up: the catalogue, pragmas as tables, storage, statements.
SQLITE_RESERVED_PREFIXES = ("sqlite_", "pragma_")
SQLITE_RESERVED_TABLES = words(
    "bytecode completion dbstat fsdir generate_series sqlar stmt tables_used zipfile"
)

# Words that may stand before "(" without being a function call.
SQL_WORDS_BEFORE_PAREN = words(
    "all and as between by case cast distinct else except exists filter from having in intersect "
    "is join limit materialized not offset on or over select then union using values when "
    "where"
)


@dataclass(frozen=True, slots=True)
class Policy:
    """What one SQL dialect may do. `forward_ctes`: a WITH clause sees its later names.

    SQLite resolves a name to any table expression of the same WITH clause,
    earlier, later or itself; DuckDB and PostgreSQL only to earlier ones.
    """

    dialect: str
    functions: frozenset[str]
    table_functions: frozenset[str]
    reserved_prefixes: tuple[str, ...]
    reserved_tables: frozenset[str]
    databases: frozenset[str]  # the qualifiers that may stand before a table
    forward_ctes: bool

    def reserves(self, table: str) -> bool:
        """Whether `table` (folded) names something the engine makes up."""
        return table.startswith(self.reserved_prefixes) or table in self.reserved_tables


SQLITE = Policy(
    dialect="sqlite",
    functions=SQLITE_FUNCTIONS,
    table_functions=SQLITE_TABLE_FUNCTIONS,
    reserved_prefixes=SQLITE_RESERVED_PREFIXES,
    reserved_tables=SQLITE_RESERVED_TABLES,
    databases=frozenset({"main"}),
    forward_ctes=True,
)
POLICIES = {policy.dialect: policy for policy in (SQLITE,)}
NODES = STRUCTURE_NODES | FUNCTION_NODES

_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def fold(name: str) -> str:
    """`name` in lower case as SQLite compares names: ASCII letters only.

    note: str.lower() would make U+212A (Kelvin sign) equal to "k", and a table
    expression of that name would then hide a read of the real table `k`.
    """
    return name.translate(_ASCII_LOWER)

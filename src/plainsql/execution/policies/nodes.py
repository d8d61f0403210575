"""The nodes of sqlglot's tree that a query may have, with their arguments.

A node could carry a write, a lock, a file or a hidden table in any argument
(`Select.into`, `Select.locks`, `Table.when`, `Describe.properties`), so each
structural node lists the arguments it may have; all others must be empty.
Function nodes are values over values: their names are checked in the text.
"""

from __future__ import annotations

from plainsql.execution.policies.base import words

_SET_OPERATION = "with_ this expression distinct by_name order limit offset"

_STRUCTURE = f"""
Select: with_ expressions distinct from_ joins where group having qualify windows order limit
Select: offset operation_modifiers laterals sample
Union: {_SET_OPERATION}
Except: {_SET_OPERATION}
Intersect: {_SET_OPERATION}
Subquery: this alias with_ joins order limit offset pivots sample
Values: expressions alias order limit offset
With: expressions recursive
CTE: this alias materialized
Table: this alias db catalog joins pivots only ordinality sample
TableAlias: this columns
From: this
Join: this on side kind using method
Lateral: this alias outer ordinality
Unnest: expressions alias offset
Where: this
Group: expressions grouping_sets cube rollup all
Having: this
Qualify: this
Order: this expressions
Ordered: this desc nulls_first
Limit: expression limit_options
Offset: expression
Fetch: direction count limit_options
LimitOptions: percent rows with_ties
TableSample: method percent rows size seed
Distinct: expressions on
Rollup: expressions
Cube: expressions
GroupingSets: expressions
Pivot: this alias expressions fields unpivot using group columns include_nulls into
Pivot: pivot_column_naming prefixed_pivot_columns identify_pivot_strings value_columns_first
UnpivotColumns: this expressions
Describe: this kind
Summarize: this table
Star: except_ replace rename ilike
Column: this table db catalog
Columns: this unpack
Identifier: this quoted
Alias: this alias
Dot: this expression
Literal: this is_string
HexString: this is_integer
BitString: this
ByteString: this is_bytes
RawString: this
National: this
Introducer: this expression
Null:
Boolean: this
Var: this
Paren: this
Tuple: expressions
Array: expressions bracket_notation struct_name_inheritance value_constructor
Struct: expressions
ToMap: this
PropertyEQ: this expression
Kwarg: this expression
Lambda: this expressions
Comprehension: this expression position iterator condition
Bracket: this expressions offset safe returns_list_for_maps json_access
Slice: this expression step
Window: this partition_by order spec alias over
WindowSpec: kind start start_side end end_side exclude
Filter: this expression
WithinGroup: this expression
IgnoreNulls: this
RespectNulls: this
Collate: this expression
Cast: this to format safe
TryCast: this to format safe requires_string null_on_text_overflow probe_date_format
DataType: this expressions nested kind nullable values
DataTypeParam: this expression
ColumnDef: this kind
Interval: this unit
IntervalSpan: this expression
AtTimeZone: this zone
Case: this ifs default
If: this true false
In: this expressions query
Exists: this expression
Between: this low high symmetric
Any: this
All: this
Like: this expression negate
ILike: this expression negate
Glob: this expression
SimilarTo: this expression
Escape: this expression
RegexpLike: this expression flag full_match
RegexpILike: this expression flag
Is: this expression negate
Not: this
Neg: this
BitwiseNot: this
And: this expression
Or: this expression
Xor: this expression round_input
EQ: this expression
NEQ: this expression
GT: this expression
GTE: this expression
LT: this expression
LTE: this expression
NullSafeEQ: this expression
NullSafeNEQ: this expression
Add: this expression
Sub: this expression
Mul: this expression
Div: this expression typed safe
IntDiv: this expression
Mod: this expression
Pow: this expression
DPipe: this expression safe
Overlaps: this expression
BitwiseAnd: this expression padside
BitwiseOr: this expression padside
BitwiseXor: this expression padside
BitwiseLeftShift: this expression requires_int128
BitwiseRightShift: this expression requires_int128
ArrayContainsAll: this expression
ArrayContainedBy: this expression
ArrayOverlaps: this expression
JSONPath: expressions
JSONPathRoot:
JSONPathKey: this quoted
JSONPathSubscript: this
JSONPathSlice: start end step
JSONPathWildcard:
JSONPathRecursive: this
JSONPathUnion: expressions
JSONKeyValue: this expression
JSONValue: this path returning
MatchAgainst: this expressions modifier
JSONTable: this schema path
JSONSchema: expressions
JSONColumnDef: this kind path nested_schema ordinality
"""


def _arguments(text: str) -> dict[str, frozenset[str]]:
    """The lines "Node: argument argument" of `text`, lines of the same node together."""
    nodes: dict[str, frozenset[str]] = {}
    for line in text.strip().splitlines():
        name, _, arguments = line.partition(":")
        nodes[name] = nodes.get(name, frozenset()) | words(arguments)
    return nodes


STRUCTURE_NODES = _arguments(_STRUCTURE)

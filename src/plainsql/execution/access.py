"""Who may read what: tables, columns, masks and row rules as data.

Made from the `[policy]` table of plainsql.toml (or in Python), checked against
the schema, enforced by the guard on every query, whatever the front end:

    [policy] ─ Access.from_settings ─▶ Access ─ check(schema) ─▶ judge(…, access=)

Names are compared as SQL compares them, without regard to the case of ASCII
letters. A name the database doesn't have is an error: a rule with a typing
mistake would protect nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from plainsql.errors import UsageError
from plainsql.execution.policy import fold
from plainsql.schema.model import ColumnType

if TYPE_CHECKING:
    from plainsql.schema.model import Column, Schema, Table

Names = frozenset[str]
Mask = None | bool | int | float | str
"""What is read instead of a cell; None: NULL."""

_KEYS = ("tables", "deny_tables", "views", "functions", "catalogue", "columns", "rows")
_COLUMN_KEYS = ("deny", "mask", "null")


@dataclass(frozen=True, slots=True)
class TableRule:
    """What a policy says about one table that may be read."""

    denied: Names = frozenset()
    masked: Mapping[str, Mask] = field(default_factory=dict)
    rows: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """What may be read. Names are compared without regard to case.

    tables: the tables and views that may be read; None: all but `tables_denied`.
    columns_denied: by table, the columns that don't exist for the reader.
    masked: by table and column, the constant that is read instead (None: NULL).
    rows: by table, the condition, as SQL over its own columns, its rows must meet.
    views: views that may be read although there are rules: as any view could
        show what a rule hides, one that isn't listed is refused.
    functions: functions allowed beside the guard's own.
    catalogue: whether the engine's tables about itself may be read.
    """

    tables: Names | None = None
    columns_denied: Mapping[str, Names] = field(default_factory=dict)
    masked: Mapping[str, Mapping[str, Mask]] = field(default_factory=dict)
    functions: Names = frozenset()
    catalogue: bool = False
    rows: Mapping[str, str] = field(default_factory=dict)
    tables_denied: Names = frozenset()
    views: Names = frozenset()

    def __post_init__(self) -> None:
        folded = {
            "tables": None if self.tables is None else frozenset(self.tables),
            "columns_denied": {fold(t): _folded(names) for t, names in self.columns_denied.items()},
            "masked": {
                fold(t): {fold(c): mask for c, mask in masks.items()}
                for t, masks in self.masked.items()
            },
            "functions": _folded(self.functions),
            "rows": {fold(t): rule for t, rule in self.rows.items()},
            "tables_denied": _folded(self.tables_denied),
            "views": _folded(self.views),
        }
        for name, value in folded.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_settings(cls, policy: Mapping[str, Any], role: str = "") -> Access:
        """The access that the `[policy]` table gives to `role` ("": to nobody in particular).

        What `[policy.roles.ROLE]` names replaces the same key of `[policy]`; in
        `columns` and `rows`, table by table. Raises `UsageError` with the key's
        name for unknown keys, wrong types and roles that are not there.
        """
        roles = _table(policy.get("roles", {}), "roles")
        parts = {name: _part(part, f"roles.{name}.") for name, part in roles.items()}
        merged = _part({key: value for key, value in policy.items() if key != "roles"}, "")
        if role:
            if role not in parts:
                raise _wrong("roles", f"has no role {role!r}", _known(role, parts, "Roles"))
            merged = _overridden(merged, parts[role])
        columns = merged.pop("columns", {})
        return cls(
            columns_denied={t: rule["deny"] for t, rule in columns.items() if rule["deny"]},
            masked={t: rule["mask"] for t, rule in columns.items() if rule["mask"]},
            tables_denied=merged.pop("deny_tables", frozenset()),
            **merged,
        )

    def narrowed(self, tables: Iterable[str] | None) -> Access:
        """The same with only those of `tables` that may be read anyway; None: unchanged."""
        if tables is None:
            return self
        wanted = frozenset(tables)
        if self.tables is not None:
            own = _folded(self.tables)
            wanted = frozenset(name for name in wanted if fold(name) in own)
        return replace(self, tables=wanted)

    @property
    def has_rules(self) -> bool:
        """Whether anything is hidden that a view could show."""
        return bool(self.columns_denied or self.masked or self.rows or self.tables_denied)

    def rule_of(self, table: str) -> TableRule | None:
        """What is said about the columns and rows of `table`; None: nothing."""
        name = fold(table)
        rule = TableRule(
            self.columns_denied.get(name, frozenset()),
            self.masked.get(name, {}),
            self.rows.get(name, ""),
        )
        return rule if rule.denied or rule.masked or rule.rows else None

    @property
    def hidden_columns(self) -> Names:
        """The columns, of whatever table, that some rule denies or masks."""
        denied = (*self.columns_denied.values(), *self.masked.values())
        return frozenset(name for names in denied for name in names)

    def lists(self, table: str) -> bool:
        """Whether a table of that name is among the allowed and not among the denied ones."""
        name = fold(table)
        if name in self.tables_denied:
            return False
        return self.tables is None or name in _folded(self.tables)

    def shows(self, name: str) -> bool:
        """Whether a message may name this table, or column as "table.column"."""
        dots = [at for at, sign in enumerate(name) if sign == "."]
        tables = {name, *(name[:at] for at in dots)}
        if any(fold(name[at + 1 :]) in self.hidden_columns for at in dots):
            return False
        hidden = any(fold(table) in self.tables_denied for table in tables)
        return not hidden and any(map(self.lists, tables))

    def may_read(self, table: Table) -> bool:
        """Whether `table` may be read at all; its columns and rows are another matter."""
        name = fold(table.name)
        if not self.lists(name):
            return False
        listed = name in self.views or self.rule_of(name) is not None
        return listed or not (table.is_view and self.has_rules)

    def readable(self, schema: Schema | None) -> Names | None:
        """The names that may be read, as the schema writes them; None (without one): any."""
        if schema is not None:
            return frozenset(table.name for table in schema.tables if self.may_read(table))
        return None if self.tables is None else frozenset(filter(self.lists, self.tables))

    def check(self, schema: Schema) -> None:
        """Raise `UsageError` unless every name is in `schema` and every rule can be applied."""
        self.check_names(schema)
        for table in schema.tables:
            if rule := self.rows.get(fold(table.name)):
                _check_rows(rule, table, schema.dialect, self.functions)

    def check_names(self, schema: Schema) -> None:
        """Raise `UsageError` for a table or column that `schema` lacks, or a mask of another kind.

        The guard asks again on every query: a rule that misses its table opens it.
        """
        known = {fold(table.name): table for table in schema.tables}
        for key, names in self._named().items():
            for name in sorted(names):
                if fold(name) not in known:
                    hint = _known(name, [table.name for table in schema.tables], "Tables")
                    raise _wrong(key, f"names a table {name!r} that the database lacks", hint)
        for name in sorted(self.columns_denied.keys() | self.masked.keys()):
            self._check_columns(known[name])

    def narrow(self, schema: Schema) -> Schema:
        """`schema` as its reader may know it: no denied names, no sample of what is hidden."""
        tables = tuple(self._narrow_table(table) for table in schema.tables if self.may_read(table))
        left = {(fold(c.table), fold(c.name)) for table in tables for c in table.columns}
        keys = tuple(
            key
            for key in schema.foreign_keys
            if all((fold(key.table), fold(column)) in left for column in key.columns)
            and all((fold(key.ref_table), fold(column)) in left for column in key.ref_columns)
        )
        return replace(schema, tables=tables, foreign_keys=keys)

    def hides_values(self, table: str, column: str) -> bool:
        """Whether some cells of a column may not be known: masked, or of a table with row rules."""
        name = fold(table)
        return name in self.rows or fold(column) in self.masked.get(name, {})

    def _named(self) -> dict[str, Iterable[str]]:
        """The tables that each key names."""
        return {
            "tables": self.tables or (),
            "deny_tables": self.tables_denied,
            "views": self.views,
            "columns": self.columns_denied.keys() | self.masked.keys(),
            "rows": self.rows.keys(),
        }

    def _check_columns(self, table: Table) -> None:
        columns = {fold(column.name): column for column in table.columns}
        masks = self.masked.get(fold(table.name), {})
        key = f"columns.{table.name}"
        for name in sorted(self.columns_denied.get(fold(table.name), frozenset()) | masks.keys()):
            if name not in columns:
                hint = _known(name, [column.name for column in table.columns], "Columns")
                raise _wrong(key, f"names a column {name!r} that the table lacks", hint)
        for name, mask in masks.items():
            if not _fits(mask, columns[name]):
                kind = columns[name].type.value
                raise _wrong(
                    f"{key}.mask.{name}",
                    f"is {mask!r}, and the column holds another kind of value ({kind})",
                    f"Give a {kind}, or list the column under {key}.null.",
                )

    def _narrow_table(self, table: Table) -> Table:
        denied = self.columns_denied.get(fold(table.name), frozenset())
        columns = tuple(
            replace(column, samples=()) if self.hides_values(table.name, column.name) else column
            for column in table.columns
            if fold(column.name) not in denied
        )
        rows = None if fold(table.name) in self.rows else table.row_count
        return replace(table, columns=columns, row_count=rows)


def _folded(names: Iterable[str]) -> Names:
    return frozenset(map(fold, names))


def _fits(mask: Mask, column: Column) -> bool:
    """Whether the mask is of the column's kind, which is what queries compare it with."""
    match column.type:
        case ColumnType.NUMBER:
            return mask is None or (isinstance(mask, int | float) and not isinstance(mask, bool))
        case ColumnType.TEXT:
            return mask is None or isinstance(mask, str)
        case ColumnType.BOOLEAN:
            return mask is None or isinstance(mask, bool | int)
        case _:
            return True


def _check_rows(rule: str, table: Table, dialect: str, functions: Names) -> None:
    from plainsql.execution.guard_rewrite import check_condition
    from plainsql.execution.scanner import Refused

    try:
        check_condition(rule, table, dialect, functions)
    except Refused as refusal:
        raise _wrong(
            f"rows.{table.name}",
            f"is no condition on the rows of that table: {refusal}",
            "Write what would stand after WHERE, with columns of that table alone.",
        ) from None


# Reading the table of plainsql.toml


def _part(part: Any, place: str) -> dict[str, Any]:
    """One `[policy]` or `[policy.roles.NAME]`, with the types of `Access`. Raises UsageError."""
    found: dict[str, Any] = {}
    for key, value in _table(part, place.rstrip(".")).items():
        name = f"{place}{key}"
        if key not in _KEYS:
            raise _wrong(name, "is not a key of a policy", _known(key, _KEYS, "Keys"))
        if key == "catalogue":
            found[key] = _flag(value, name)
        elif key == "columns":
            found[key] = _by_table(value, name, _columns)
        elif key == "rows":
            found[key] = _by_table(value, name, _condition)
        else:
            found[key] = frozenset(_names(value, name))
    return found


def _overridden(base: dict[str, Any], role: dict[str, Any]) -> dict[str, Any]:
    """`base` with what `role` names; `columns` and `rows` are replaced table by table."""
    merged = base | role
    for key in ("columns", "rows"):
        if key in base or key in role:
            merged[key] = base.get(key, {}) | role.get(key, {})
    return merged


def _by_table(value: Any, name: str, read: Any) -> dict[str, Any]:
    """A table by table name, each entry read; names that differ in case alone are refused."""
    entries = {key: read(entry, f"{name}.{key}") for key, entry in _table(value, name).items()}
    folded = {fold(key): entry for key, entry in entries.items()}
    if len(folded) < len(entries):
        raise _wrong(name, "names a table twice")
    return folded


def _columns(value: Any, name: str) -> dict[str, Any]:
    """`{ deny = [...], null = [...], mask = { column = literal } }`."""
    entry = _table(value, name)
    for key in entry:
        if key not in _COLUMN_KEYS:
            raise _wrong(f"{name}.{key}", "is not known", _known(key, _COLUMN_KEYS, "Keys"))
    masks: dict[str, Mask] = dict.fromkeys(map(fold, _names(entry.get("null", []), f"{name}.null")))
    for column, mask in _table(entry.get("mask", {}), f"{name}.mask").items():
        if not isinstance(mask, bool | int | float | str):
            raise _wrong(f"{name}.mask.{column}", "must be a text, a number, true or false")
        if isinstance(mask, float) and mask - mask != 0:
            raise _wrong(f"{name}.mask.{column}", "must be a finite number")
        masks[fold(column)] = mask
    denied = _folded(_names(entry.get("deny", []), f"{name}.deny"))
    if both := sorted(denied & masks.keys()):
        raise _wrong(name, f"both denies and masks the column {both[0]!r}")
    return {"deny": denied, "mask": masks}


def _condition(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, "must be a condition in SQL", 'Such as "user_id = 7".')
    return value.strip()


def _names(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise _wrong(name, "must be a list of names", 'Such as ["users", "orders"].')
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "must be true or false")
    return value


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(name, "must be a table of keys")
    return value


def _known(wanted: str, names: Iterable[str], title: str) -> str:
    """The name most like `wanted`, or the first few there are."""
    found = {fold(name): name for name in names}
    close = get_close_matches(fold(wanted), found, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {found[close[0]]}?"
    shown = sorted(found.values())[:8]
    return f"{title}: {', '.join(shown)}{', …' if len(found) > 8 else ''}." if shown else ""


def _wrong(key: str, why: str, hint: str = "") -> UsageError:
    name = f"policy.{key}" if key else "policy"
    return UsageError(f"In the policy, {name} {why}.", hint=hint)

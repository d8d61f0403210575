"""Read a schema through SQLAlchemy's inspector, which is given: no driver is needed here.

https://docs.sqlalchemy.org/en/20/core/reflection.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from plainsql.schema.introspect_common import (
    MAX_SAMPLE_LENGTH,
    MAX_SAMPLE_ROWS,
    RawColumn,
    RawKey,
    RawTable,
    build_schema,
    full_name,
    with_samples,
)
from plainsql.schema.model import Schema

# Where a table is: its schema (None: the default one) and its name.
_Place = tuple[str | None, str]
# The first rows of a table, at most so many; None where they can't be had.
Sample = Callable[[RawTable, int], Sequence[tuple[Any, ...]] | None]


def inspected_schema(
    name: str,
    dialect: str,
    inspector: Any,
    kind: Any,
    sample: Sample | None = None,
    *,
    namespaces: Collection[str] = (),
    samples: int = 3,
    infer_keys: bool = True,
) -> Schema:
    """The schema of what `inspector` (`sqlalchemy.inspect(engine)`) finds.

    `kind` is `ObjectKind.ANY`: tables and views. Those of the default schema come,
    and of the schemas in `namespaces`. `sample`, where given, is asked for rows.
    Raises SchemaError when there is no table, and what the inspector raises.
    """
    tables: list[RawTable] = []
    keys: list[RawKey] = []
    for namespace in (None, *namespaces):
        facts = _Facts(inspector, kind, namespace)
        tables += facts.tables()
        keys += facts.keys()
    if sample is not None:
        tables = with_samples(tables, lambda table: _shown(sample(table, MAX_SAMPLE_ROWS)))
    return build_schema(name, dialect, tables, keys, samples=samples, infer_keys=infer_keys)


class _Facts:
    """What the inspector says of one schema of the database."""

    def __init__(self, inspector: Any, kind: Any, namespace: str | None) -> None:
        self._inspector = inspector
        self._kind = kind
        self._namespace = namespace
        self._views = {name.lower() for name in self._optional("get_view_names") or ()}

    def tables(self) -> Iterator[RawTable]:
        """Tables and views in the inspector's order."""
        columns = self._many("get_multi_columns")
        primary = self._many("get_multi_pk_constraint")
        unique = self._many("get_multi_unique_constraints")
        comments = self._many("get_multi_table_comment")
        for place, found in columns.items():
            key = (primary.get(place) or {}).get("constrained_columns") or ()
            single = _single(unique.get(place) or ())
            yield RawTable(
                name=place[1],
                columns=tuple(_column(column, key, single) for column in found),
                namespace=place[0] or "",
                is_view=place[1].lower() in self._views,
                comment=(comments.get(place) or {}).get("text") or "",
            )

    def keys(self) -> Iterator[RawKey]:
        """The declared foreign keys."""
        for (namespace, table), found in self._many("get_multi_foreign_keys").items():
            for key in found:
                yield RawKey(
                    full_name(namespace or "", table),
                    tuple(key["constrained_columns"]),
                    full_name(key.get("referred_schema") or "", key["referred_table"]),
                    tuple(key["referred_columns"]),
                )

    def _many(self, method: str) -> Mapping[_Place, Any]:
        """The answer for all tables at once; nothing where the dialect can't say."""
        with suppress(NotImplementedError):
            found: Mapping[_Place, Any] = getattr(self._inspector, method)(
                schema=self._namespace, kind=self._kind
            )
            return found
        return {}

    def _optional(self, method: str) -> list[str] | None:
        with suppress(NotImplementedError):
            names: list[str] = getattr(self._inspector, method)(schema=self._namespace)
            return names
        return None


def _single(constraints: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Columns that are unique on their own."""
    groups = (constraint["column_names"] for constraint in constraints)
    return frozenset(group[0] for group in groups if len(group) == 1)


def _column(column: Mapping[str, Any], key: Collection[str], single: Collection[str]) -> RawColumn:
    declared = column["type"]
    labels = getattr(declared, "enums", None) or ()
    return RawColumn(
        name=str(column["name"]),
        declared=_declared(declared),
        in_primary_key=column["name"] in key,
        comment=column.get("comment") or "",
        values=tuple(str(label) for label in labels),
        unique=column["name"] in single,
    )


def _declared(kind: Any) -> str:
    """The type as SQL writes it; types that the dialect doesn't know have no name."""
    try:
        return str(kind)
    except Exception:  # some types can't be written without their dialect
        return str(getattr(kind, "__visit_name__", "")).upper()


def _shown(rows: Sequence[tuple[Any, ...]] | None) -> list[tuple[Any, ...]] | None:
    if rows is None:
        return None
    return [
        tuple(cell[:MAX_SAMPLE_LENGTH] if isinstance(cell, str) else cell for cell in row)
        for row in rows
    ]

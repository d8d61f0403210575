"""Queries over the shop that are made up from a small grammar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TABLES = {
    "users": ["id", "name", "email", "region", "age", "boss_id", "password"],
    "orders": ["id", "user_id", "total", "status", "note"],
    "items": ["id", "order_id", "label", "n"],
}
SPELLINGS = ["{0}", "main.{0}", '"{0}"', "{0} AS {1}", "{0} {1}", 'main."{0}" AS {1}', "({0})"]
JOINS = ["{} JOIN {} ON {} = {}", "{} LEFT JOIN {} ON {} = {}", "{}, {} WHERE {} = {}"]
# As text: DuckDB compares nothing else with everything.
AS_TEXT = "CAST({} AS VARCHAR)"
ONE_IN_EIGHT = 8


class Query:
    """One made-up query. `draw(n)` chooses a number below n."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw
        self._names = 0
        self._with: list[tuple[str, list[str]]] = []  # WITH names and their columns

    def pick(self, values: list[Any]) -> Any:
        return values[self._draw(len(values))]

    def whole(self) -> str:
        head = ""
        if self._draw(3) == 0:
            name, (body, columns) = self.pick(["x", "users", "orders"]), self.select(1)
            head = f"WITH {name}({', '.join(columns)}) AS ({body}) "
            self._with.append((name, columns))
        body, columns = self.select(0)
        if self._draw(4) == 0:
            other, more = self.select(1)
            if len(more) == len(columns):
                body = f"{body} {self.pick(['UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT'])} {other}"
        return head + body

    def select(self, depth: int) -> tuple[str, list[str]]:
        """A SELECT and names for its columns."""
        source, columns, alias = self.source(depth)
        clauses, known = source, columns
        if self._draw(3) == 0:
            other, more, second = self.source(depth, aliased=True)
            on = [self.text(columns, alias), self.text(more, second)]
            clauses = self.pick(JOINS).format(source, other, *on)
            known = [c for c in columns if c not in more] + [f"{second}.{c}" for c in more]
        elif self._draw(4) == 0:
            clauses = f"{source} NATURAL JOIN items"
        if self._draw(2) and " WHERE " not in clauses:
            clauses += f" WHERE {self.condition(known, alias, depth)}"
        return self.results(clauses, known, alias)

    def results(self, clauses: str, known: list[str], alias: str) -> tuple[str, list[str]]:
        shape = self._draw(6)
        if shape == 0:
            total = f"SELECT count(*) AS c0, max({self.pick(known)}) AS c1 FROM {clauses}"
            return total, ["c0", "c1"]
        if shape == 1:
            group = self.pick(known)
            counted = f"SELECT {group} AS c0, count(*) AS c1 FROM {clauses} GROUP BY {group}"
            return counted, ["c0", "c1"]
        if shape == 2:
            column = self.pick(known)
            rank = f"row_number() OVER (PARTITION BY {column} ORDER BY {column})"
            return f"SELECT {column} AS c0, {rank} AS c1 FROM {clauses}", ["c0", "c1"]
        columns = [self.pick(known) for _ in range(1 + self._draw(3))]
        if self._draw(4) == 0:
            columns[0] = f"CASE WHEN {columns[0]} IS NULL THEN 0 ELSE 1 END"
        word = self.pick(["", "", "DISTINCT "])
        listed = ", ".join(f"{c} AS c{i}" for i, c in enumerate(columns))
        return f"SELECT {word}{listed} FROM {clauses}", [f"c{i}" for i in range(len(columns))]

    def source(self, depth: int, *, aliased: bool = False) -> tuple[str, list[str], str]:
        """What stands in FROM, its columns and the name before them."""
        self._names += 1
        alias = f"a{self._names}"
        if depth < 3 and self._draw(5) == 0:
            body, columns = self.select(depth + 1)
            return f"({body}) AS {alias}", columns, alias
        if self._with and self._draw(3) == 0:
            name, columns = self._with[-1]
            return f"{name} AS {alias}", columns, alias
        table = self.pick(list(TABLES))
        spelling = self.pick([one for one in SPELLINGS if "{1}" in one or not aliased])
        hidden = {"password", "note"} if self._draw(ONE_IN_EIGHT) else set()
        columns = [c for c in TABLES[table] if c not in hidden]
        shadowed = any(table == name for name, _ in self._with) and "main." not in spelling
        text = f"{table} AS {alias}" if shadowed else spelling.format(table, alias)
        if shadowed:
            columns = next(columns for name, columns in self._with if name == table)
        name = alias if alias in text else table
        return text, columns, name

    def text(self, columns: list[str], alias: str) -> str:
        return AS_TEXT.format(f"{alias}.{self.pick(columns).split('.')[-1]}")

    def condition(self, known: list[str], alias: str, depth: int) -> str:
        column = self.pick(known)
        text = AS_TEXT.format(column)
        shape = self._draw(7)
        if depth < 2 and shape == 0:
            body, _ = self.select(depth + 1)
            return f"{text} IN (SELECT CAST(d.c0 AS VARCHAR) FROM ({body}) AS d)"
        if depth < 2 and shape == 1:
            table = self.pick(list(TABLES))
            return f"EXISTS (SELECT 1 FROM {table} AS z WHERE CAST(z.id AS VARCHAR) = {text})"
        if shape == 2:
            return f"{column} IS {self.pick(['', 'NOT '])}NULL"
        if shape == 3:
            return f"{text} LIKE '%{self.pick(['a', 'x', '*', '1'])}%'"
        if shape == 4:
            left, right = self.condition(known, alias, 2), self.condition(known, alias, 2)
            return f"({left} {self.pick(['AND', 'OR'])} NOT {right})"
        return f"{text} {self.pick(['=', '<', '>=', '<>'])} '{self._draw(6)}'"

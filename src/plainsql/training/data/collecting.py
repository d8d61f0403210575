"""The first pass: rows are read, checked, and put into a scratch file as examples."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import TextIO

from plainsql.errors import DataError
from plainsql.training.data.examples import Builder, Example
from plainsql.training.data.formats import Row
from plainsql.training.data.ledger import Ledger, sql_key
from plainsql.training.data.options import PrepareOptions
from plainsql.training.data.rejections import Rejected
from plainsql.training.data.report import SourceCount
from plainsql.training.data.sources import Rows, Source
from plainsql.training.data.splits import Groups
from plainsql.training.data.spool import Spooled


class Collector:
    """Reads sources one after another.

    Examples go to `spool`, rows that were turned away to `rejected`, one JSON
    object a line each; `groups` holds which examples must stay together.
    """

    def __init__(
        self,
        options: PrepareOptions,
        builder: Builder,
        ledger: Ledger,
        spool: TextIO,
        rejected: TextIO,
    ) -> None:
        self.groups = Groups()
        self.reasons: Counter[str] = Counter()
        self.executed = 0
        self._options = options
        self._builder = builder
        self._ledger = ledger
        self._spool = spool
        self._rejected = rejected

    def read(self, rows: Rows, number: int, advance: Callable[[], None]) -> SourceCount:
        """Read all of one source, the `number`th. Raises `DataError` for a bad row if strict."""
        counts: Counter[str] = Counter()
        for row in islice(rows, self._options.limit):
            counts["rows"] += 1
            try:
                kept = self._take(self._builder.example(row), rows.source, number)
                counts["kept" if kept else "duplicates"] += 1
            except Rejected as rejection:
                counts["rejected"] += 1
                self._turn_away(row, rejection, rows.source)
            advance()
        return SourceCount(rows.source.name, rows.format.name, rows.sha256(), **counts)

    def _take(self, example: Example, source: Source, number: int) -> bool:
        """Put an example into the spool; False where an equal one is there already."""
        signatures = example.known.signatures
        scope = "\n".join(signatures)
        if not self._ledger.is_new(scope, example.question, example.response):
            return False
        if self._options.split_by == "query":
            key = hashlib.sha256(f"{scope}\n{sql_key(example.response)}".encode()).hexdigest()
            signatures = (key[:16],)
        group = self.groups.add(signatures)
        if source.validation:
            self.groups.reserve(signatures)
        self.executed += example.executed
        dialect = self._options.prompt.dialect
        spooled = Spooled.of(
            example, dialect, source=number, group=group, validation=source.validation
        )
        self._spool.write(spooled.line())
        return True

    def _turn_away(self, row: Row, rejection: Rejected, source: Source) -> None:
        if self._options.strict:
            place = f"{source.name}, {'line' if source.path else 'row'} {row.line}"
            raise DataError(
                f"{place}: {rejection}.",
                hint="Repair the row, or leave --strict out to pass over such rows.",
            ) from rejection
        reason = rejection.reason.value
        self.reasons[reason] += 1
        found = {"source": source.name, "line": row.line, "reason": reason}
        found |= {"detail": rejection.detail, "db": row.db}
        found |= {"question": row.question, "sql": row.sql}
        self._rejected.write(json.dumps(found) + "\n")

"""Pairs of question and SQL, from whatever form, made ready for training.

    sources ─ collecting ─▶ checked examples in a scratch file, groups counted
            ─ splits ─▶ the groups to validate on
            ─ dividing ─▶ train.jsonl, validation.jsonl ─▶ prepare.json

Two passes, since whole databases go to one side and their sizes are known only at
the end. Memory does not grow with the number of examples, but for less than 1 kB for
each database (or table of a data set without databases).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from plainsql.errors import DataError, TrainingError, UsageError
from plainsql.training.data.collecting import Collector
from plainsql.training.data.dividing import Divided, divide
from plainsql.training.data.examples import Builder
from plainsql.training.data.ledger import Ledger
from plainsql.training.data.measuring import ESTIMATE, tokenizer_of
from plainsql.training.data.options import PrepareOptions
from plainsql.training.data.prepared import (
    FILES,
    FORMAT_VERSION,
    MANIFEST,
    REJECTED,
    PreparedData,
    load_prepared,
)
from plainsql.training.data.report import PrepareReport, SourceCount
from plainsql.training.data.schemas import Schemas
from plainsql.training.data.sources import Rows, find_source
from plainsql.training.data.splits import Groups, validation_groups

__all__ = ["PrepareOptions", "PrepareReport", "PreparedData", "load_prepared", "prepare"]

# Called with the number of rows read, and how many there are where that is known.
Progress = Callable[[int, int | None], None]


def prepare(
    options: PrepareOptions, progress: Progress = lambda done, total: None
) -> PrepareReport:
    """Write the folder `options.out` (see `prepared`) and return what was found.

    The folder appears when it is whole. Raises `DataError` where no example is
    left, and at the first bad row if `strict`; `UsageError` for a folder that is not
    empty; `TrainingError` when it can't be written.
    """
    out = options.out.expanduser().absolute()
    refuse_to_overwrite(out, force=options.force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
            whole = Path(scratch) / "whole"
            whole.mkdir()
            report = _write(options, whole, Path(scratch), progress)
            _publish(whole, out)
            return report
    except (OSError, sqlite3.OperationalError) as error:  # the second: a full disk
        raise TrainingError(
            f"{out} can't be written: {error}",
            hint="Check the path, its permissions and the space on the disk.",
        ) from error


def refuse_to_overwrite(out: Path, *, force: bool) -> None:
    """Raise `UsageError` where `out` holds something that may not be replaced.

    Even `force` replaces only a folder that holds prepared data and nothing else.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is not a folder.", hint="Give another --out.")
    names = {path.name for path in out.iterdir()}
    if not names <= FILES:
        raise UsageError(f"{out} holds other files.", hint="Give another --out.")
    if names and not force:
        hint = "Give another --out, or --force to replace what is there."
        raise UsageError(f"{out} is not empty.", hint=hint)


def _publish(whole: Path, out: Path) -> None:
    """Put the finished folder in its place; what was there is prepared data, and goes."""
    old = whole.with_name("old")
    if out.exists():
        os.rename(out, old)
    os.rename(whole, out)
    shutil.rmtree(old, ignore_errors=True)


def _write(
    options: PrepareOptions, folder: Path, scratch: Path, progress: Progress
) -> PrepareReport:
    started = time.perf_counter()
    spool = scratch / "spool.jsonl"
    with closing(Ledger(scratch / "ledger.sqlite")) as ledger:
        collector, sources = _collect(options, ledger, spool, folder / REJECTED, progress)
        contradictions = ledger.contradictions()
    chosen = _chosen(options, collector.groups)
    divided = divide(spool, folder, collector.groups, chosen, options.prompt)
    report = PrepareReport(
        prompt=options.prompt,
        counted_by=options.tokenizer or ESTIMATE,
        sources=tuple(
            replace(source, kept=source.kept - divided.held_out[at], held_out=divided.held_out[at])
            for at, source in enumerate(sources)
        ),
        train=divided.train.side(),
        validation=divided.validation.side(),
        narrowing=divided.narrowing,
        rejected=dict(collector.reasons.most_common()),
        contradictions=contradictions,
        executed=collector.executed,
        seconds=round(time.perf_counter() - started, 2),
    )
    _refuse_empty(report, options)
    report = replace(report, warnings=tuple(_warnings(report, options)))
    manifest = _manifest(options, report, divided)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return report


def _collect(
    options: PrepareOptions, ledger: Ledger, spool: Path, rejected: Path, progress: Progress
) -> tuple[Collector, list[SourceCount]]:
    """The first pass over all sources; those for validation alone come first."""
    split = options.hub_split
    found = [find_source(name, split=split, validation=True) for name in options.validation]
    found += [find_source(name, split=split) for name in options.sources]
    readers = [Rows(source, options.format) for source in found]
    advance = _advance(readers, options.limit, progress)
    with (
        _schemas(options) as schemas,
        spool.open("w", encoding="utf-8") as spool_file,
        rejected.open("w", encoding="utf-8") as rejected_file,
    ):
        builder = _builder(options, schemas)
        collector = Collector(options, builder, ledger, spool_file, rejected_file)
        counts = [collector.read(rows, at, advance) for at, rows in enumerate(readers)]
    return collector, counts


def _schemas(options: PrepareOptions) -> Schemas:
    return Schemas(
        options.folder,
        options.tables,
        options.prompt.schema_form,
        default=options.default_db,
        dialect=options.prompt.dialect,
        cache_dir=options.cache_dir,
    )


def _builder(options: PrepareOptions, schemas: Schemas) -> Builder:
    return Builder(
        options.prompt,
        tokenizer_of(options.tokenizer),
        schemas,
        run=options.execute,
        timeout=options.timeout,
        evidence=options.evidence,
        model=options.model,
    )


def _advance(readers: Sequence[Rows], limit: int | None, progress: Progress) -> Callable[[], None]:
    """A function that reports one more row."""
    expected = [rows.expected() for rows in readers]
    known = [min(number, limit or number) for number in expected if number is not None]
    total = sum(known) if len(known) == len(readers) else None
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    return advance


def _chosen(options: PrepareOptions, groups: Groups) -> set[int]:
    """The groups to validate on. Raises `UsageError` for a database without questions."""
    wanted = [name.lower() for name in options.validation_dbs]
    known = {name.lower() for name in groups.signatures}
    if missing := sorted(set(wanted) - known):
        raise UsageError(
            f"No question is about the database {missing[0]!r}.",
            hint=f"There are: {', '.join(sorted(known)[:20])}.",
        )
    groups.reserve(wanted)
    return validation_groups(groups, options.validation_fraction, options.seed)


def _refuse_empty(report: PrepareReport, options: PrepareOptions) -> None:
    """Raise `DataError` where there is nothing to train on."""
    if report.train.examples:
        return
    held_out = sum(source.held_out for source in report.sources)
    if report.validation.examples:
        said = f"all {held_out or report.validation.examples:,} are for validation"
        hint = "Keep some databases for training, or use --split-by query."
    else:
        said = ", ".join(f"{number:,}: {reason}" for reason, number in report.rejected.items())
        hint = "Name the databases with --databases DIR or --db FILE, or schemas with --tables."
        if options.folder or options.tables:
            place = options.folder or options.tables
            hint = f"Look whether the names in the data are those under {place}."
    raise DataError(f"No example is left to train on: {said or 'no rows'}.", hint=hint)


def _warnings(report: PrepareReport, options: PrepareOptions) -> Iterator[str]:
    if not report.validation.examples and options.validation_fraction:
        yield (
            "Nothing to validate on: all questions are about one database."
            " Use --split-by query, or --validation with questions about another one."
        )
    if report.narrowing.still_lost:
        yield (
            f"{report.narrowing.still_lost:,} training examples don't show all tables of their"
            " query: raise --max-input-tokens."
        )
    if report.narrowing.recall < 0.9 and report.narrowing.lost:
        yield (
            f"In {report.narrowing.lost:,} of {report.narrowing.narrowed:,} questions over large"
            " schemas linking leaves out a table that the query needs: raise --max-input-tokens,"
            " or use --schema-form text, which is shorter."
        )


def _manifest(options: PrepareOptions, report: PrepareReport, divided: Divided) -> dict[str, Any]:
    sources = [
        {"path": str(source.path), "sha256": source.sha256, "rows": source.rows}
        for source in report.sources
    ]
    return {
        "format_version": FORMAT_VERSION,
        "prompt": asdict(options.prompt),
        "sources": sources,
        "databases": str(options.folder.expanduser().absolute()) if options.folder else "",
        "tables": str(options.tables.expanduser().absolute()) if options.tables else "",
        "tokenizer": options.tokenizer,
        "split_by": options.split_by,
        "seed": options.seed,
        "splits": {"train": divided.train.groups, "validation": divided.validation.groups},
        "report": report.to_dict(),
    }

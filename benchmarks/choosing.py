"""What does it bring to try several queries, to vote, and to ask a second translator?

    python benchmarks/choosing.py wikisql --model DIR --cells FILE --fit FILE --dev FILE
    python benchmarks/choosing.py confidence --dataset FILE --databases DIR --only-db NAME ...

`wikisql` asks a small language model (one made by benchmarks/fine_tuning/language_model.py)
and the parser questions over databases made for the purpose (see choosing_data.py), and
compares ways to choose among their queries by execution accuracy. The factors of the
formula (src/plainsql/scoring.py) are chosen on `--fit`, questions of the training set
over tables that the model has not seen; `--dev` is reported. `--cells` are questions
whose values fill the cells. What the model wrote, and what came of it, is kept in `--out`.

`confidence` asks the parser questions it was not trained on, and says how often it is
right where it is how sure: what `auto_threshold` is chosen by.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby, pairwise, product
from pathlib import Path
from typing import Any

import choosing_data
from choosing_data import Question

from plainsql.ask import Database, connect
from plainsql.choosing import TRUST, Rule, Trial, choose, confidence
from plainsql.errors import PlainsqlError
from plainsql.evaluation.execution_accuracy import Gold, compare, run_gold
from plainsql.evaluation.statistics import PairedComparison, bootstrap_interval, compare_paired
from plainsql.evidence import Evidence
from plainsql.records import Candidate
from plainsql.rounds import CANDIDATES
from plainsql.scoring import FACTORS, Factors, Signals, by_result
from plainsql.settings import Settings
from plainsql.translators.parser.translator import ParserTranslator
from plainsql.trying import Trying

SAMPLES, TEMPERATURE = 8, 0.7
STEPS = (1.0, 0.5, 0.3, 0.1, 0.05)  # values of a factor that are tried
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """One question: what was proposed and came of it, and which SQL is right.

    `voices` holds, for each sample, the place of its query among `samples`.
    """

    greedy: list[Trial]
    beam: list[Trial]
    samples: list[Trial]
    voices: list[int]
    parser: list[Trial]
    signals: dict[str, Signals]
    right: frozenset[str]


Way = Callable[[Case], str]  # the SQL chosen, "" for none


# -- making the cases ----------------------------------------------------------------


def write_texts(
    model: Path, questions: Sequence[Question], folder: Path, out: Path
) -> dict[str, list[list[tuple[str, float]]]]:
    """What the model writes for each question, in each way of writing; kept in `out`."""
    kept: dict[str, list[list[tuple[str, float]]]] = {}
    if out.is_file():
        kept = json.loads(out.read_text("utf-8"))
    if len(kept) == 3:
        return kept
    from plainsql.translators.language_model.generation import GenerationSettings, generate
    from plainsql.translators.language_model.translator import LanguageModelTranslator

    translator = LanguageModelTranslator(model)
    prompts = [_prompt(translator, question, folder) for question in questions]
    plain = GenerationSettings(max_new_tokens=96, batch_size=16)
    searches = {
        "greedy": plain,
        "beam": replace(plain, strategy="beam", beams=4, candidates=4, batch_size=8),
        "samples": replace(
            plain, strategy="sample", candidates=SAMPLES, temperature=TEMPERATURE, batch_size=8
        ),
    }
    for name, settings in searches.items():
        if name in kept:
            continue
        begin = time.perf_counter()
        texts = generate(translator.loaded, prompts, settings)
        kept[name] = [[(text.text, text.score) for text in each] for each in texts]
        out.write_text(json.dumps(kept), "utf-8")
        _say(f"{name}: {time.perf_counter() - begin:.0f} s for {len(prompts)} questions")
    return kept


def _prompt(translator: Any, question: Question, folder: Path) -> str:
    with connect(folder / f"{question.db}.sqlite", translator=translator) as database:
        prompt = translator.prompt(question.text, database.schema, None)
    return str(prompt.text)


def cases(
    questions: Sequence[Question], texts: dict[str, Any], folder: Path, settings: Settings
) -> list[Case]:
    """All queries run, each judged by the rows of the gold query; kept beside `folder`."""
    kept = folder.with_suffix(".pickle")
    if kept.is_file():
        found: list[Case] = pickle.loads(kept.read_bytes())
        return found
    parser = ParserTranslator()
    found = []
    for at, question in enumerate(questions):
        path = folder / f"{question.db}.sqlite"
        with connect(path, translator=parser, settings=settings) as database:
            written = {name: _candidates(texts[name][at]) for name in texts}
            found.append(_case(question, written, database))
    kept.write_bytes(pickle.dumps(found))
    return found


def _candidates(texts: Iterable[tuple[str, float]]) -> list[Candidate]:
    from plainsql.translators.language_model.extract import extract_sql

    return [Candidate(extract_sql(text) or "", score, "model") for text, score in texts]


def _case(question: Question, written: dict[str, list[Candidate]], database: Database) -> Case:
    links = database.link(question.text)
    evidence = Evidence(database.schema, links, database._index)
    parsed = database.translator.propose(question.text, database.schema, links, CANDIDATES)
    gold = run_gold(database.engine, question.gold, timeout=_SECONDS)
    samples = _distinct(written["samples"])
    tried = {
        "greedy": _tried(written["greedy"], database),
        "beam": _tried(_distinct(written["beam"]), database),
        "samples": _tried(samples, database),
        "parser": _tried(parsed, database),
    }
    places = {candidate.sql: place for place, candidate in enumerate(samples)}
    voices = [places[candidate.sql] for candidate in written["samples"] if candidate.sql]
    all_sql = {trial.candidate.sql for trials in tried.values() for trial in trials}
    return Case(
        **tried,
        voices=voices,
        signals={sql: evidence.signals(sql) for sql in sorted(all_sql)},
        right=frozenset(sql for sql in all_sql if _is_right(sql, gold, database)),
    )


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        known = best.get(candidate.sql)
        if candidate.sql and (known is None or candidate.score > known.score):
            best[candidate.sql] = candidate
    return sorted(best.values(), key=lambda candidate: -candidate.score)


def _tried(candidates: Sequence[Candidate], database: Database) -> list[Trial]:
    trying = Trying(database.engine, database.schema, database.access, 1000, _SECONDS)
    return trying.round([c for c in candidates if c.sql], len(candidates))


def _is_right(sql: str, gold: Gold, database: Database) -> bool:
    return compare(database.engine, gold, sql, timeout=_SECONDS).same


# -- ways to choose --------------------------------------------------------------------


def first(trials: Sequence[Trial]) -> str:
    """The likeliest, whatever comes of it."""
    return trials[0].candidate.sql if trials else ""


def first_that_runs(trials: Sequence[Trial]) -> str:
    """Execution-guided: the likeliest that neither was refused nor failed."""
    return next((trial.candidate.sql for trial in trials if trial.possible), "")


def first_with_rows(trials: Sequence[Trial]) -> str:
    """The likeliest that found something, else the likeliest that runs."""
    found = (trial.candidate.sql for trial in trials if trial.rows and trial.rows.rows)
    return next(found, first_that_runs(trials))


def majority(case: Case) -> str:
    """One voice a sample; the rows with most voices, and of equals the likelier."""
    voices = [float(case.voices.count(at)) for at in range(len(case.samples))]
    voices = [v if t.possible else 0.0 for v, t in zip(voices, case.samples, strict=True)]
    together = by_result(voices, [trial.rows for trial in case.samples])
    if not any(together):
        return ""
    best = max(range(len(together)), key=lambda at: (together[at], voices[at], -at))
    return case.samples[best].candidate.sql


def by_formula(trials: Sequence[Trial], case: Case, factors: Factors) -> str:
    """The formula of src/plainsql/scoring.py."""
    choice = choose(trials, Rule(signals=case.signals.__getitem__, factors=factors))
    return trials[choice.index].candidate.sql if choice else ""


def by_ranker(case: Case, ranker: Any) -> str:
    """The parser alone, as `ask` chooses."""
    choice = choose(case.parser, Rule(ranker))
    return case.parser[choice.index].candidate.sql if choice else ""


def by_both(case: Case, ranker: Any, factors: Factors, threshold: float, trust: float) -> str:
    """`auto`: the parser, and where it is unsure the beam of the model as well."""
    choice = choose(case.parser, Rule(ranker))
    if choice is not None and confidence(case.parser, choice) >= threshold:
        return case.parser[choice.index].candidate.sql
    trials = [*case.parser, *case.beam]
    choice = choose(trials, Rule(ranker, case.signals.__getitem__, trust, factors))
    return trials[choice.index].candidate.sql if choice else ""


def ways(ranker: Any, factors: Factors, threshold: float) -> dict[str, Way]:
    """All ways, by what the table calls them."""
    even = Factors(*(1.0 for _ in fields(Factors)))
    return {
        "greedy": lambda case: first(case.greedy),
        "beam of 4, the first": lambda case: first(case.beam),
        "beam of 4, the first that runs": lambda case: first_that_runs(case.beam),
        "beam of 4, the first with rows": lambda case: first_with_rows(case.beam),
        f"{SAMPLES} samples, most voices by result": majority,
        f"{SAMPLES} samples, probability by result": lambda c: by_formula(c.samples, c, even),
        "beam of 4, probability by result": lambda case: by_formula(case.beam, case, even),
        f"{SAMPLES} samples, with signals": lambda c: by_formula(c.samples, c, factors),
        "beam of 4, with signals (shipped)": lambda case: by_formula(case.beam, case, factors),
        "parser alone": lambda case: by_ranker(case, ranker),
        f"auto (below {threshold:.2f})": lambda c: by_both(c, ranker, factors, threshold, TRUST),
        "auto, both always asked": lambda c: by_both(c, ranker, factors, 1.01, TRUST),
    }


# -- choosing the factors ----------------------------------------------------------------


def fitted(found: Sequence[Case]) -> Factors:
    """Of all combinations of STEPS, the best.

    Those that choose right at most 1 % less often than the best are as good; of them, the one
    under which the right results are likeliest: its confidences say most.
    """
    names = [item.name for item in fields(Factors)]
    tried = [Factors(**dict(zip(names, steps, strict=True))) for steps in product(STEPS, repeat=4)]
    measured = {factors: _fit(found, factors) for factors in tried}
    most = max(right for right, _ in measured.values())
    good = [factors for factors in tried if measured[factors][0] >= 0.99 * most]
    return max(good, key=lambda factors: measured[factors][1])


def _fit(found: Sequence[Case], factors: Factors) -> tuple[int, float]:
    right, likelihood = 0, 0.0
    for case in found:
        for trials in (case.beam, case.samples):
            choice = choose(trials, Rule(signals=case.signals.__getitem__, factors=factors))
            if choice is None:
                continue
            right += trials[choice.index].candidate.sql in case.right
            chances = zip(trials, choice.confidences, strict=True)
            held = sum(chance for t, chance in chances if t.candidate.sql in case.right)
            none = max(1.0 - sum(choice.confidences), 0.0)
            likely = held if case.right & {t.candidate.sql for t in trials} else none
            likelihood += math.log(min(max(likely, 1e-4), 1.0))
    return right, likelihood


# -- saying it ---------------------------------------------------------------------------


def table(found: Sequence[Case], chosen: dict[str, Way]) -> str:
    """Accuracy of each way with its interval, and the difference from greedy and from the beam."""
    marks = {name: [way(case) in case.right for case in found] for name, way in chosen.items()}
    basis = marks["beam of 4, the first that runs"]
    lines = [
        "| choice | right | 95 % interval | against the beam's first that runs | p |",
        "|---|---|---|---|---|",
    ]
    for name, own in marks.items():
        sure = bootstrap_interval(own)
        paired = compare_paired(own, basis)
        lines.append(
            f"| {name} | {100 * sum(own) / len(own):.1f} % | {100 * sure.low:.1f} to"
            f" {100 * sure.high:.1f} | {_difference(paired)} | {paired.p_value:.2f} |"
        )
    return "\n".join(lines)


def _difference(paired: PairedComparison) -> str:
    low, high = 100 * paired.interval.low, 100 * paired.interval.high
    return (
        f"{100 * paired.difference:+.1f} ({low:+.1f} to {high:+.1f}):"
        f" +{paired.only_first} -{paired.only_second}"
    )


def _oracle(found: Sequence[Case]) -> str:
    def share(of: Callable[[Case], Sequence[Trial]]) -> str:
        hits = sum(any(t.candidate.sql in c.right for t in of(c)) for c in found)
        return f"{100 * hits / len(found):.1f} %"

    return (
        f"A right query is among the beam's for {share(lambda c: c.beam)}, among the samples for"
        f" {share(lambda c: c.samples)}, among the parser's for {share(lambda c: c.parser)}, among"
        f" beam and parser for {share(lambda c: [*c.beam, *c.parser])}."
    )


def wikisql(options: argparse.Namespace) -> None:
    """Fit on the one part, report on the other."""
    options.out.mkdir(parents=True, exist_ok=True)
    cells = choosing_data.pools(choosing_data.read_rows(options.cells))
    settings = Settings(cache_dir=str(options.out / "cache"))
    parts: dict[str, list[Case]] = {}
    for name, path in (("fit", options.fit), ("dev", options.dev)):
        rows = choosing_data.read_rows(path)
        folder = options.out / name
        questions = choosing_data.make(rows, options.questions, cells, folder)
        texts = write_texts(options.model, questions, folder, options.out / f"{name}.json")
        begin = time.perf_counter()
        parts[name] = cases(questions, texts, folder, settings)
        _say(f"{name}: run and judged in {time.perf_counter() - begin:.0f} s")
    factors = fitted(parts["fit"])
    print(f"Factors chosen on {len(parts['fit'])} questions: {factors}; shipped: {FACTORS}\n")
    from plainsql.ranking import RANKER, Ranker

    ranker = Ranker.load(ParserTranslator().folder / RANKER)
    threshold = Settings().auto_threshold
    for name in ("fit", "dev"):
        print(f"{len(parts[name])} questions of the part {name}, with the shipped factors:\n")
        print(table(parts[name], ways(ranker, FACTORS, threshold)), "\n")
        print(_oracle(parts[name]), "\n")


def parser_confidence(options: argparse.Namespace) -> None:
    """How often the parser is right, by how sure it is."""
    from plainsql.evaluation.datasets import database_paths, load_dataset, select
    from plainsql.schema.spider import load_tables_json

    chosen = select(load_dataset(options.dataset), only=options.only_db, limit=options.questions)
    paths = database_paths(options.databases, (example.db for example in chosen))
    schemas = load_tables_json(options.tables) if options.tables else {}
    parser, pairs = ParserTranslator(), []
    ordered = sorted(chosen, key=lambda example: example.db)
    for db, group in groupby(ordered, key=lambda example: example.db):
        with connect(paths[db], schema=schemas.get(db), translator=parser) as database:
            pairs += [pair for example in group if (pair := _asked(example, database))]
    print(f"{len(pairs)} questions\n")
    print("| confidence below | questions | right | of those from it on, right |")
    print("|---|---|---|---|")
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        below = [right for sure, right in pairs if sure < threshold]
        above = [right for sure, right in pairs if sure >= threshold]
        share = 100 * len(below) / len(pairs)
        print(
            f"| {threshold:.2f} | {len(below)} ({share:.0f} %) | {_percent(below)} |"
            f" {_percent(above)} |"
        )
    print("\nBetween:", *_bands(pairs), sep="\n")


def _asked(example: Any, database: Database) -> tuple[float, bool] | None:
    """Confidence and correctness; None where the gold fails."""
    try:
        gold = run_gold(database.engine, example.sql, timeout=_SECONDS)
    except PlainsqlError:
        return None
    try:
        answer = database.ask(example.question)
    except PlainsqlError:
        return 0.0, False
    return answer.confidence, _is_right(answer.sql, gold, database)


def _bands(pairs: Sequence[tuple[float, bool]]) -> Iterator[str]:
    edges = [0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01]
    for low, high in pairwise(edges):
        inside = [right for sure, right in pairs if low <= sure < high]
        yield f"{low:.2f} to {high:.2f}: {len(inside)} questions, {_percent(inside)} right"


def _percent(marks: Sequence[bool]) -> str:
    return f"{100 * sum(marks) / len(marks):.0f} %" if marks else "–"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """The part that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("wikisql")
    for name in ("--model", "--cells", "--fit", "--dev"):
        one.add_argument(name, type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--questions", type=int, default=250, help="of each part [250]")
    one.set_defaults(run=wikisql)
    two = verbs.add_parser("confidence")
    for name in ("--dataset", "--databases"):
        two.add_argument(name, type=Path, required=True)
    two.add_argument("--tables", type=Path)
    two.add_argument("--only-db", action="append", default=[])
    two.add_argument("--questions", type=int)
    two.set_defaults(run=parser_confidence)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()

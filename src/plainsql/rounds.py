"""The rounds of one question: what is asked of whom, until there is an answer or no more time.

    first    propose ─▶ try ─▶ choose
    auto     is the parser unsure? the language model proposes ─▶ try ─▶ choose among all
    repair   is the best suspicious? back to who mends it ─▶ try ─▶ choose among all

A round is one translator's candidates. No new one is begun when the time or the tokens of
the question are used up: what there is then is the answer. Each step says what was done
and why, in `Answer.trace`; no times are in it, so that the same input gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from plainsql.budget import current
from plainsql.choosing import TRUST, Choice, Rule, Trial, choose, confidence
from plainsql.errors import MissingExtra, ModelError, PlainsqlError, QuestionError
from plainsql.execution.redaction import redact
from plainsql.ranking import fingerprint
from plainsql.records import MODEL_FAILED, SENT, Candidate, Links, Origin, Step
from plainsql.scoring import Signals
from plainsql.translators.auto import AutoTranslator
from plainsql.translators.base import Repairing, Translator

if TYPE_CHECKING:
    from plainsql.evidence import Evidence
    from plainsql.linking.value_index import ValueIndex
    from plainsql.ranking import Ranker
    from plainsql.schema.model import Schema
    from plainsql.settings import Settings
    from plainsql.stopwatch import Stopwatch
    from plainsql.trying import Trying

# Candidates asked of a translator, however few alternatives are shown: the
# right query is often among the first five and not the first.
CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, and what is known of it before anybody proposes a query.

    `schema` is what its asker may know, `whole` what there is.
    """

    question: str
    schema: Schema
    links: Links
    whole: Schema
    index: ValueIndex | None = None


@dataclass
class Rounds:
    """The rounds of one question: `run` them, then read `trials`, `choice` and `trace`."""

    asked: Asked
    translator: Translator
    trying: Trying
    settings: Settings
    watch: Stopwatch
    ranker: Ranker | None = None
    trials: list[Trial] = field(default_factory=list)
    choice: Choice | None = None
    trace: list[Step] = field(default_factory=list)

    def run(self, *, execute: bool, further: bool) -> None:
        """The first round, and where `further` those that it calls for.

        With `execute` the candidates run, else they are judged alone. Raises as
        `Translator.propose` does, `ConnectError`.
        """
        auto = self.translator if isinstance(self.translator, AutoTranslator) else None
        self._round(self._proposed(auto.first if auto else self.translator), execute=execute)
        if not further:
            return
        if auto and self._is_unsure():
            self._ask_second(auto.second, execute=execute)
        self._mend(execute=execute)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where the chosen query came from, and whatever left the machine on the way to it."""
        chosen = self.trials[self.choice.index].candidate.origins if self.choice else ()
        every = (origin for trial in self.trials for origin in trial.candidate.origins)
        sent = (origin for origin in every if origin.role == SENT)
        return tuple(dict.fromkeys([*chosen, *sent]))

    # -- one round ---------------------------------------------------------

    def _proposed(self, translator: Translator) -> list[Candidate]:
        with self.watch.stage("translate"):
            asked, count = self.asked, max(CANDIDATES, self.settings.alternatives + 1)
            found = translator.propose(asked.question, asked.schema, asked.links, count)
        remark = getattr(translator, "remark", "")  # what a language model says of itself
        self._note("propose", f"{_count(found, 'candidate')} of {translator.name}", remark)
        return found

    def _round(self, candidates: Sequence[Candidate], *, execute: bool) -> None:
        """Try the candidates, and choose among all so far."""
        with self.watch.stage("execute"):
            wanted = self._results_wanted(candidates) if execute else 0
            tried = self.trying.round(candidates, wanted)
        self.trials += tried
        if tried:
            self._note("try", _outcomes(tried), _first_error(tried))
        with self.watch.stage("choose"):
            self.choice = choose(self.trials, self._rule)
        if tried and self.choice is not None:
            self._note("choose", *_chosen(self.trials, self.choice))

    @property
    def _rule(self) -> Rule:
        second = isinstance(self.translator, AutoTranslator)
        return Rule(self.ranker, self._signals, TRUST if second else 1.0)

    def _signals(self, sql: str) -> Signals:
        return self._evidence.signals(sql)

    @cached_property
    def _evidence(self) -> Evidence:
        """Read where it is needed only: a re-ranker has signals of its own."""
        from plainsql.evidence import Evidence

        return Evidence(self.asked.schema, self.asked.links, self.asked.index)

    def _results_wanted(self, candidates: Sequence[Candidate]) -> int:
        """How many candidates must run: all where results are compared, or the first alone.

        An ambiguity shows in the rows of two.
        """
        if self.ranker is not None or any(not candidate.features for candidate in candidates):
            return max(CANDIDATES, len(candidates))
        return 2 if self.settings.ambiguity_margin else 1

    # -- a second translator -------------------------------------------------

    def _is_unsure(self) -> bool:
        sure, threshold = self._confidence(), self.settings.auto_threshold
        if sure >= threshold and self.choice is not None:
            self._note("stop", "the language model is not needed", _compared(sure, ">=", threshold))
            return False
        return not self._is_over("the language model is not asked")

    def _confidence(self) -> float:
        return confidence(self.trials, self.choice) if self.choice is not None else 0.0

    def _ask_second(self, model: Translator, *, execute: bool) -> None:
        """Where it fails, what the first one found is the answer. Raises where that is nothing."""
        why = _compared(self._confidence(), "<", self.settings.auto_threshold)
        self._note("ask model", model.name, why if self.choice else "the parser found no query")
        try:
            found = self._proposed(model)
        except (ModelError, MissingExtra, QuestionError) as error:
            if self.choice is None:
                raise
            self._failed(model, error)
        else:
            self._round(found, execute=execute)

    def _failed(self, model: Translator, error: PlainsqlError) -> None:
        self._note(MODEL_FAILED, model.name, error.message)

    # -- repair --------------------------------------------------------------

    def _mend(self, *, execute: bool) -> None:
        """Send what is suspicious back, until it isn't, nothing new comes, or no round is left."""
        model = self._mender()
        for _ in range(self.settings.repair_rounds if model else 0):
            assert model is not None
            new = self._mended(model)
            if not new:
                return
            self._round(new, execute=execute)

    def _mender(self) -> Translator | None:
        """The translator that has proposed candidates and can mend them."""
        found = self.translator
        if isinstance(found, AutoTranslator):
            found = found.second
        return found if isinstance(found, Repairing) else None

    def _mended(self, model: Translator) -> list[Candidate]:
        """New candidates in place of the suspicious ones; none where nothing is, or none come."""
        from plainsql.mending import denied_names, mending

        told = mending(
            self.trials,
            self.choice,
            self._evidence,
            translator=model.name,
            denied=denied_names(self.asked.whole, self.asked.schema),
        )
        if not told.why or self._is_over("no repair"):
            return []
        self._note("repair", f"{_count(told.attempts, 'candidate')} back to {model.name}", told.why)
        try:
            with self.watch.stage("translate"):
                asked = self.asked
                assert isinstance(model, Repairing)
                found = model.repair(
                    asked.question, asked.schema, asked.links, told.attempts, CANDIDATES
                )
        except (ModelError, MissingExtra, QuestionError) as error:
            self._failed(model, error)
            return []
        known = {t.candidate.sql for t in self.trials if t.candidate.translator == model.name}
        new = [candidate for candidate in found if candidate.sql not in known]
        self._note("propose", f"{_count(new, 'new candidate')} of {model.name}")
        return new

    # -- what is said --------------------------------------------------------

    def _is_over(self, what: str) -> bool:
        """Whether no round may be begun any more, which is noted."""
        why = current().exhausted()
        if why:
            self._note("stop", what, why)
        return bool(why)

    def _note(self, stage: str, what: str, why: str = "") -> None:
        self.trace.append(Step(stage, redact(what), redact(why)))


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}" + ("" if len(items) == 1 else "s")


def _compared(sure: float, sign: str, threshold: float) -> str:
    return f"the parser's confidence {sure:.2f} {sign} {threshold:.2f}"


def _outcomes(trials: Sequence[Trial]) -> str:
    """ "3 with rows, 1 empty, 2 refused or failed"."""
    with_rows = sum(bool(t.rows and t.rows.rows) for t in trials)
    empty = sum(t.rows is not None and not t.rows.rows for t in trials)
    failed = sum(t.error is not None for t in trials)
    counts = {
        "with rows": with_rows,
        "empty": empty,
        "refused or failed": failed,
        "not run": len(trials) - with_rows - empty - failed,
    }
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def _first_error(trials: Sequence[Trial]) -> str:
    return next((trial.error.message for trial in trials if trial.error is not None), "")


def _chosen(trials: Sequence[Trial], choice: Choice) -> tuple[str, str]:
    """What was chosen, and what speaks for it."""
    chosen = trials[choice.index]
    mark = fingerprint(chosen.rows)
    same = [t for t in trials if mark is not None and fingerprint(t.rows) == mark]
    who = sorted({trial.candidate.translator for trial in same})
    agreed = f", which {len(same)} of {len(trials)} candidates gave" if len(same) > 1 else ""
    both = f" ({' and '.join(who)})" if len(who) > 1 else ""
    sure = confidence(trials, choice)
    place = f"candidate {choice.index + 1} of {len(trials)}, by {chosen.candidate.translator}"
    return place, f"confidence {sure:.2f} in its rows{agreed}{both}"

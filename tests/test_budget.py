"""The budget of a question: seconds, tokens, and who knows of it."""

from __future__ import annotations

import contextvars
import math
import threading

import pytest

from plainsql.budget import Budget, OutOfBudget, current, within


def test_without_a_budget_nothing_runs_out() -> None:
    budget = current()
    budget.spend(10**9)
    budget.check()
    assert (budget.left(), budget.tokens_left(), budget.exhausted()) == (math.inf, math.inf, "")
    assert current().spent == 0  # what nobody limits is counted nowhere


@pytest.mark.parametrize(
    ("seconds", "tokens", "spent", "why", "setting"),
    [
        (60, 0, 10**6, "", ""),
        (60, 100, 99, "", ""),
        (60, 100, 100, "the 100 tokens for the question are used up", "token_budget"),
        (60, 2000, 5000, "the 2,000 tokens for the question are used up", "token_budget"),
        (0, 0, 0, "the time for the question is up", "deadline"),
        (-1, 100, 100, "the time for the question is up", "deadline"),
    ],
)
def test_what_is_used_up_is_said(
    seconds: float, tokens: int, spent: int, why: str, setting: str
) -> None:
    budget = Budget.lasting(seconds, tokens)
    budget.spend(spent)
    assert budget.exhausted() == why
    assert min(budget.left(), budget.tokens_left()) >= 0
    if not why:
        budget.check()
        return
    with pytest.raises(OutOfBudget) as error:
        budget.check()
    assert why in error.value.message
    assert setting in error.value.hint


def test_it_is_known_inside_and_forgotten_outside() -> None:
    with within(Budget.lasting(9, 10)) as outer:
        assert current() is outer
        with within(Budget.lasting(1)) as inner:
            assert current() is inner
        assert current() is outer
        with pytest.raises(ZeroDivisionError), within(Budget.lasting(1)):
            _ = 1 / 0
        assert current() is outer
    assert current().deadline == math.inf


def test_a_thread_knows_it_where_the_context_is_copied() -> None:
    seen: list[float] = []
    with within(Budget.lasting(9)) as budget:
        context = contextvars.copy_context()
        for target in (current, lambda: context.run(current)):
            thread = threading.Thread(target=lambda made=target: seen.append(made().deadline))
            thread.start()
            thread.join()
    assert seen == [math.inf, budget.deadline]

"""What one question may cost, in seconds and tokens, known to whoever spends some of it.

    with within(Budget.lasting(60.0, tokens=20_000)):
        ...                        # and deep below, in a translator:
        current().check()          # raises OutOfBudget
        timeout = current().left()
        current().spend(1_200)

A context variable carries it (https://docs.python.org/3/library/contextvars.html), so that
no function between has to hand it on. A thread begins without one: a translator that makes
threads copies the context into them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from plainsql.errors import ModelError


class OutOfBudget(ModelError):
    """The time or the tokens of a question are used up; the hint names the setting."""


@dataclass
class Budget:
    """Until when, in monotonic seconds, and for how many tokens (0: any number).

    Tokens are those sent and received. What runs when they are used up is finished; then
    nothing new is begun.
    """

    deadline: float = math.inf
    tokens: int = 0
    spent: int = field(default=0, init=False)  # tokens

    @classmethod
    def lasting(cls, seconds: float, tokens: int = 0) -> Budget:
        """One that begins now."""
        return cls(time.monotonic() + seconds, tokens)

    def left(self) -> float:
        """Seconds until the deadline, 0 once it has passed, infinite where there is none."""
        return max(self.deadline - time.monotonic(), 0.0)

    def tokens_left(self) -> float:
        """Tokens that may still be spent, infinite where there is no limit."""
        return max(self.tokens - self.spent, 0) if self.tokens else math.inf

    def spend(self, tokens: int) -> None:
        """Count tokens that were sent or received."""
        self.spent += tokens

    def exhausted(self) -> str:
        """What is used up, as a clause ("the time for the question is up"); "" for nothing."""
        if self.left() <= 0:
            return "the time for the question is up"
        if self.tokens_left() <= 0:
            return f"the {self.tokens:,} tokens for the question are used up"
        return ""

    def room(self, sent: int) -> float:
        """Tokens that may be received after `sent` are. Raises `OutOfBudget` for none."""
        self.check()
        left = self.tokens_left() - sent
        if left < 1:
            raise OutOfBudget(
                f"The prompt takes about {sent:,} tokens, and {self.tokens_left():,} are left of"
                f" the {self.tokens:,} for the question.",
                hint="Raise the setting token_budget, or ask over fewer tables.",
            )
        return left

    def check(self) -> None:
        """Raise `OutOfBudget` where something is used up."""
        why = self.exhausted()
        if why:
            setting = "deadline" if self.left() <= 0 else "token_budget"
            raise OutOfBudget(
                f"The language model was stopped: {why}.",
                hint=f"Raise the setting {setting}, or ask a faster model or fewer tables.",
            )


_CURRENT: ContextVar[Budget | None] = ContextVar("plainsql-budget", default=None)


@contextmanager
def within(budget: Budget) -> Iterator[Budget]:
    """Make `budget` the current one for the body of a `with`."""
    token = _CURRENT.set(budget)
    try:
        yield budget
    finally:
        _CURRENT.reset(token)


def current() -> Budget:
    """The budget of the question being answered; one without limits where none is set."""
    return _CURRENT.get() or Budget()

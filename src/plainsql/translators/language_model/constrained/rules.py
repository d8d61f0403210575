"""Rules that are the same in every scope, written once, and their two spellings.

A rule whose name ends with `@` stands for one rule in each scope: `e@: a@ | k@`.
Both languages get it as often as there are scopes, with `y` and the scope's
number in place of the sign: `ey0: ay0 | ky0`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from plainsql.translators.language_model.constrained.terminals import (
    Terminal,
    as_gbnf,
    as_regex,
)


class Rules:
    """Rules and terminals of one grammar, in the order in which they were added."""

    def __init__(self, terminals: Mapping[str, Terminal]) -> None:
        self.plain: dict[str, str] = {}  # name -> body; `e@3` in it is the rule e@ in scope 3
        self.scoped: dict[str, tuple[str, Sequence[int]]] = {}  # "e@" -> body, scopes
        self.terminals = dict(terminals)

    def add(self, name: str, *alternatives: str, scopes: Sequence[int] = ()) -> None:
        """A rule, for a name with `@` in each of `scopes`; without alternatives none."""
        body = " | ".join(alternatives)
        if body and name.endswith("@"):
            self.scoped[name] = (body, scopes)
        elif body:
            self.plain[name.replace("@", "y")] = body

    def terminal(self, name: str, terminal: Terminal) -> str:
        """A terminal, unless there is one of this name; its name."""
        self.terminals.setdefault(name, terminal)
        return name

    def _bodies(self) -> Iterator[tuple[str, str]]:
        yield from ((name, body.replace("@", "y")) for name, body in self.plain.items())
        for name, (body, scopes) in self.scoped.items():
            for number in scopes:
                yield f"{name[:-1]}y{number}", body.replace("@", f"y{number}")

    def lark(self, known: dict[str, str]) -> str:
        """As llguidance reads them. `known` keeps what was written of terminals, by name."""
        lines = [f"{name}: {body}" for name, body in self._bodies()]
        for name, terminal in self.terminals.items():
            if name not in known:
                known[name] = as_regex(terminal)
            lines.append(f"{name}: {known[name]}")
        return "\n".join(lines) + "\n"

    def gbnf(self) -> str:
        """As llama.cpp reads them; its first rule is called root."""
        lines = ["root ::= start", *(f"{name} ::= {body}" for name, body in self._bodies())]
        lines += [f"{name} ::= {as_gbnf(one)}" for name, one in self.terminals.items()]
        return "\n".join(lines) + "\n"

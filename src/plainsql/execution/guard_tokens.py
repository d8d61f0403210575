"""What the guard checks on the tokens, before anything is parsed.

One statement, a first word that begins a query, and before each "(" a name that
is a listed function, a word of SQL or the name of a table with a column list.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from plainsql.execution.policy import Policy
from plainsql.execution.scanner import LITERALS, QUOTED, SIGN, WORD, Kind, Refused, Token

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token as ParserToken

# %5d, %.2f, %-10s, %1$s: a width of four digits or "*" makes one huge value inside
# one step of the engine, where no deadline is looked at.
_PRINTF_ITEM = re.compile(r"%(?:\d{1,2}\$)?[-+ 0#!,]{0,4}\d{0,3}(?:\.\d{0,3})?l{0,2}[A-Za-z%]")
_BRACE_ITEM = re.compile(
    r"\{\d{0,2}(?::[^{}\d]{0,3}\d{0,3}(?:[.,]\d{0,3})?[a-zA-Z%]?)?\}|\{\{|\}\}"
)
# EXPLAIN's own words; ANALYZE runs the statement.
_EXPLAINS = (
    ("explain", "query", "plan"),
    ("explain", "verbose"),
    ("explain", "extended"),
    ("explain",),
)
_SAMPLING = frozenset({"bernoulli", "system", "reservoir"})
_NAME_KINDS = (WORD, QUOTED)


def one_statement(tokens: list[Token], rules: Policy) -> list[Token]:
    """The tokens of the query itself, without `EXPLAIN` and the last semicolon."""
    if tokens and tokens[-1].is_sign(";"):
        tokens = tokens[:-1]
    if any(token.is_sign(";") for token in tokens):
        raise Refused("more than one statement")
    tokens = _without_explain(tokens, rules)
    allowed = sorted(word.upper() for word in rules.first_words)
    bracketed = bool(tokens) and tokens[0].is_sign("(")
    if not tokens or not (bracketed or tokens[0].is_word(*rules.first_words)):
        raise Refused(f"not a query: it must begin with {', '.join(allowed)}")
    return tokens


def _without_explain(tokens: list[Token], rules: Policy) -> list[Token]:
    """The tokens after EXPLAIN [QUERY PLAN], EXPLAIN VERBOSE, EXPLAIN (FORMAT JSON), ..."""
    for prefix in _EXPLAINS:
        head = tokens[: len(prefix)]
        if [t.text for t in head if t.kind is WORD] == list(prefix):
            rest = tokens[len(prefix) :]
            break
    else:
        return tokens
    if prefix == ("explain",) and rest and rest[0].is_sign("(") and rules.explain_options:
        options = [token.text for token in rest[:4] if token.kind in (WORD, SIGN)]
        if options[:2] == ["(", "format"] and options[3:4] == [")"]:
            return rest[4:]
    if prefix == ("explain",) and len(rest) > 3 and rest[0].is_word("format"):
        return rest[3:] if rest[1].is_sign("=") and rest[2].kind is WORD else rest
    return rest


def check_calls(tokens: list[Token], rules: Policy) -> Counter[str]:
    """Every name before "(" may stand there. Raises Refused.

    Returns the names, as often as they occur, that are only allowed as the name
    of a table expression with a column list, `t (a, b)`: the tree must agree.
    """
    aliases: Counter[str] = Counter()
    for at, (name, opening) in enumerate(pairwise(tokens)):
        if opening.text != "(" or opening.kind is not SIGN or name.kind is SIGN:
            continue
        if name.kind not in _NAME_KINDS or not _may_call(tokens, at, rules):
            if name.kind not in _NAME_KINDS or not _is_alias(tokens, at):
                raise Refused(f"function {name.text[:60]!r} is not allowed")
            aliases[name.text] += 1
    return aliases


def _may_call(tokens: list[Token], at: int, rules: Policy) -> bool:
    name, before = tokens[at], tokens[at - 1] if at else None
    quoted = name.kind is QUOTED
    dotted = before is not None and before.is_sign(".")
    if not quoted and not dotted and name.text in rules.words_before_paren:
        return True
    if before is not None and before.is_word("tablesample", "sample") and name.text in _SAMPLING:
        return not quoted
    if rules.fetch_in_brackets and _is_fetch(tokens, at):
        return True
    called = rules.function_name(name.text, quoted)
    home = _home(tokens, at, rules) if dotted else ""
    if f"{home}.{called}" in rules.granted_functions:
        return True
    if dotted and not (rules.dot_calls or home in rules.function_homes):
        return False
    if quoted and not rules.quoted_functions:
        return False
    if called in rules.format_functions or called in rules.brace_functions:
        pattern = _PRINTF_ITEM if called in rules.format_functions else _BRACE_ITEM
        return not dotted and _is_safe_format(tokens[at + 2 : at + 4], pattern)
    return called in rules.functions or called in rules.table_functions


def _is_fetch(tokens: list[Token], at: int) -> bool:
    """FETCH FIRST (5) ROWS: a word of SQL before a plain number in brackets."""
    if at == 0 or not tokens[at].is_word("first", "next") or not tokens[at - 1].is_word("fetch"):
        return False
    after = tokens[at + 2 : at + 5]
    if len(after) < 3 or not after[0].text.isdigit() or after[0].kind is not Kind.NUMBER:
        return False
    return after[1].is_sign(")") and after[2].is_word("row", "rows")


def _home(tokens: list[Token], at: int, rules: Policy) -> str:
    """The name that qualifies the function at `at`, which follows a dot; "" for other things."""
    home = tokens[at - 2] if at > 1 else None
    if home is None or home.kind not in _NAME_KINDS or (at > 2 and tokens[at - 3].is_sign(".")):
        return ""
    return rules.function_name(home.text, home.kind is QUOTED)


def _is_safe_format(arguments: list[Token], item: re.Pattern[str]) -> bool:
    """The format is one literal whose widths are written out, below 1,000."""
    if len(arguments) < 2 or arguments[0].kind is not Kind.STRING:
        return False
    if not (arguments[1].is_sign(",") or arguments[1].is_sign(")")):
        return False
    text = arguments[0].text
    if "\\" in text or text[:1] != "'":  # E'\x25...' would hide the sign
        return False
    signs = "%" if item is _PRINTF_ITEM else "{}"
    return not set(signs) & set(item.sub("", text))


def _is_alias(tokens: list[Token], at: int) -> bool:
    """`name (a, b)` where only a table expression's name can stand, not a call."""
    end = _end_of_names(tokens, at + 1)
    if end is None:
        return False
    before = tokens[at - 1] if at else None
    after = tokens[end + 1 : end + 3]
    is_with = len(after) == 2 and after[0].is_word("as") and (
        after[1].is_sign("(") or after[1].is_word("not", "materialized")
    )  # fmt: skip
    if is_with:
        return before is not None and (before.is_sign(",") or before.is_word("with", "recursive"))
    if before is None or before.is_word("as") or before.is_sign(")"):
        return before is not None
    source = tokens[at - 2] if at > 1 else before  # FROM orders o(a, b)
    of_source = source.is_word("from", "join", "only", "lateral")
    return before.kind in _NAME_KINDS and (of_source or source.is_sign(",") or source.is_sign("."))


def _end_of_names(tokens: list[Token], opening: int) -> int | None:
    """Where the list of names (and types, `a decimal(9, 2)`) that opens there closes."""
    depth = 0
    for at in range(opening, len(tokens)):
        token = tokens[at]
        depth += token.is_sign("(") - token.is_sign(")")
        if depth == 0:
            return at
        if depth > 2 or not _is_name_part(token, depth):
            return None
    return None


def _is_name_part(token: Token, depth: int) -> bool:
    if token.kind is Kind.NUMBER:
        return depth == 2  # of a type
    if token.kind in (WORD, QUOTED):
        return True
    return token.kind is SIGN and token.text in ",()[]"


def check_words(tokens: list[Token], rules: Policy) -> None:
    """Refuse bare words that are calls without brackets, `user`. Raises Refused."""
    listed = rules.statement_words | rules.refused_words
    for at, token in enumerate(tokens):
        if token.text not in listed or token.kind is not WORD:
            continue
        if token.text in rules.statement_words:
            raise Refused(f"{token.text!r} is not allowed without quotes")
        if token.text in rules.refused_words:
            before = tokens[at - 1] if at else token
            if not (before.is_sign(".") or before.is_word("as")):
                raise Refused(f"{token.text!r} is not allowed")


def check_agreement(tokens: list[Token], parsed: list[ParserToken], first: int) -> None:
    """sqlglot's tokens are ours, or whole runs of ours ("GROUP BY", "||"). Raises Refused.

    `parsed` are its tokens of the text from `first` on; each ends with its last character.
    """
    from sqlglot.tokenizer_core import TokenType

    name, at, count = TokenType.IDENTIFIER, 0, len(tokens)
    for theirs in parsed:
        start, end, begin = first + theirs.start, first + theirs.end + 1, at
        while at < count and tokens[at].end <= end:
            at += 1
        if begin == at or tokens[begin].start != start or tokens[at - 1].end != end:
            raise Refused("two lexers read this text differently")
        if at - begin > 1 and any(token.kind in LITERALS for token in tokens[begin:at]):
            raise Refused("two lexers read this text differently")
        if (theirs.token_type == name) is not (tokens[begin].kind is QUOTED):
            raise Refused("two lexers read a quoted part differently")
    if at != count:
        raise Refused("two lexers read this text differently")

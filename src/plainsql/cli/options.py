"""Flags that several verbs share, and the settings they add up to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from plainsql.errors import UsageError
from plainsql.settings import Settings, load_settings

Function = TypeVar("Function", bound=Callable[..., Any])


def db_option(function: Function) -> Function:
    """-d/--db, the database to use."""
    return click.option(
        "-d",
        "--db",
        metavar="DB",
        help="The database: a file, a folder of data files, or a URL. [PLAINSQL_DB]",
    )(function)


def policy_options(function: Function) -> Function:
    """--tables and --role: what of the database may be read."""
    tables = click.option(
        "--tables",
        metavar="A,B",
        help="Read only these tables (of those that the policy allows).",
    )
    role = click.option(
        "--role", metavar="NAME", help="Whose rules of the policy apply. [PLAINSQL_ROLE]"
    )
    return role(tables(function))


def table_list(text: str | None) -> frozenset[str] | None:
    """The tables that `--tables a,b` names; None where it wasn't given.

    Raises `UsageError` where it names none.
    """
    if text is None:
        return None
    names = frozenset(filter(None, (name.strip() for name in text.split(","))))
    if not names:
        raise UsageError("--tables names no table.", hint="Such as --tables users,orders.")
    return names


def translator_option(function: Function) -> Function:
    """--translator, who turns questions into SQL, and what concerns language models."""
    cache = click.option(
        "--cache/--no-cache",
        "answer_cache",
        default=None,
        help="Keep what a language model answers, and use what was kept. [default: keep]",
    )
    model = click.option(
        "--language-model",
        metavar="NAME",
        help="Whom auto asks where the parser is unsure. [PLAINSQL_LANGUAGE_MODEL]",
    )
    name = click.option(
        "--translator",
        metavar="NAME",
        help="Who turns questions into SQL: parser, a model's folder, OWNER/NAME on the Hub,"
        " openai:MODEL@URL, gguf:PATH, or auto. [default: parser]",
    )
    return name(model(cache(function)))


def settings_with_db(flags: dict[str, Any]) -> Settings:
    """Settings that name a database. Raises `UsageError` where none does."""
    settings = load_settings(flags)
    if not settings.db:
        raise UsageError(
            "No database is given.",
            hint="Name one with -d DB or PLAINSQL_DB; plainsql demo makes one to try.",
        )
    return settings


def read_stdin() -> bytes:
    """All of standard input, for an argument given as `-`."""
    return sys.stdin.buffer.read()

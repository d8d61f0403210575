"""plainsql generate: what a language model writes, with every knob of the search."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from plainsql.cli.generated import print_written
from plainsql.cli.options import db_option, read_stdin, settings_with_db
from plainsql.cli.output import note
from plainsql.errors import QuestionError, UnanswerableError, UsageError
from plainsql.settings import load_settings

if TYPE_CHECKING:
    from plainsql.ask import Database
    from plainsql.evaluation.datasets import Example
    from plainsql.evaluation.writing import Written
    from plainsql.translators.language_model.decoding import (
        Generated,
        GenerationSettings,
        Strategy,
    )
    from plainsql.translators.language_model.translator import LanguageModelTranslator

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)

_SEARCH = (
    click.option(
        "--strategy",
        type=click.Choice(["greedy", "beam", "sample"]),
        help="How to search. [default: greedy; beam for several candidates]",
    ),
    click.option("--candidates", type=int, metavar="N", default=1, help="Texts wanted."),
    click.option("--beams", type=int, metavar="N", help="Beams of beam search. [default: 4]"),
    click.option("--temperature", type=float, metavar="T", help="Of sampling. [default: 0.7]"),
    click.option("--top-p", type=float, metavar="P", help="Of sampling. [default: 0.95]"),
    click.option("--top-k", type=int, metavar="K", help="Of sampling; 0: no limit. [default: 50]"),
    click.option("--seed", type=int, default=0, metavar="N", help="Of sampling. [default: 0]"),
    click.option("--max-new-tokens", type=int, metavar="N", help="[default: as in training]"),
    click.option("--batch-size", type=int, default=8, metavar="N", help="Questions at a time."),
)
_LOADING = (
    click.option(
        "--quantization",
        type=click.Choice(["nf4", "nf4-dq", "int8", "none"]),
        help="Load the weights in fewer bits. [default: as trained]",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        help="Numbers of the weights that are not quantized.",
    ),
    click.option("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, mps."),
    click.option("--revision", default="", metavar="NAME", help="Of a model on the Hub."),
    click.option("--trust-remote-code", is_flag=True, help="Run Python files of the model."),
)
_WHAT = (
    click.option("--prompt-file", type=_FILE, help="Continue the text of this file as it is."),
    click.option("--questions", type=_FILE, help="Ask each: .json, .jsonl or .csv with db."),
    click.option("--databases", type=_FOLDER, help="With --questions: the folder of databases."),
    click.option("--tables", type=_FILE, help="With --questions: schemas in Spider's form."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N questions."),
    click.option("--evidence", is_flag=True, help="With --questions: tell BIRD's evidence too."),
    click.option("--out", type=_FILE, help="With --questions: JSON Lines, continued if there."),
    click.option("--restart", is_flag=True, help="Write --out anew."),
)
_OUTPUT = (
    click.option("--raw", is_flag=True, help="Print whole texts, not only their SQL."),
    click.option("--stream", is_flag=True, help="Show the text as it is written."),
    click.option("--show-prompt", is_flag=True, help="Print the prompt on stderr."),
    click.option("--execute", is_flag=True, help="Run the SQL, read-only, and print the rows."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
)


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed((*_WHAT, *_SEARCH, *_OUTPUT, *_LOADING)):
        function = option(function)
    return function


@click.command("generate")
@click.argument("model")
@click.argument("question", nargs=-1)
@db_option
@_with_options
def command(model: str, question: tuple[str, ...], **flags: Any) -> int:
    """Let MODEL write the SQL for QUESTION (`-` reads it from stdin), or for a file.

    MODEL is a folder (an adapter, a complete model, the output of plainsql train)
    or a model on the Hub. The prompt is the one it was trained with. Scores are
    log-probabilities. Nothing is run without --execute.

    \b
    plainsql generate runs/shop "How many orders are open?" -d shop.sqlite
    plainsql generate runs/shop "Who bought most?" -d shop.sqlite --candidates 4 --execute
    plainsql generate org/model "Who bought most?" -d shop.sqlite --quantization nf4 --stream
    plainsql generate runs/shop --strategy sample --temperature 1 --prompt-file prompt.txt --raw
    plainsql generate runs/shop --questions dev.json --databases database --out written.jsonl
    """
    _refuse_conflicts(question, flags)
    settings = _search(flags)
    translator = _translator(model, flags)
    if flags["questions"]:
        return _file(translator, settings, flags)
    if flags["prompt_file"]:
        return _continue(translator, settings, flags)
    return _one(translator, settings, _read(question), flags)


def _refuse_conflicts(question: tuple[str, ...], flags: dict[str, Any]) -> None:
    given = (bool(question), bool(flags["prompt_file"]), bool(flags["questions"]))
    if sum(given) != 1:
        raise UsageError("Give one of QUESTION, --prompt-file and --questions.")
    if flags["questions"] and not flags["databases"]:
        raise UsageError("--questions needs --databases, the folder of their databases.")
    if flags["questions"] and (flags["stream"] or flags["show_prompt"]):
        raise UsageError("--stream and --show-prompt are for one question.")
    if flags["out"] and not flags["questions"]:
        raise UsageError("--out is for --questions; one answer goes to stdout.")
    if flags["stream"] and flags["as_json"]:
        raise UsageError("--stream and --json can't be given together.")
    if flags["prompt_file"] and flags["execute"] and not flags["db"]:
        raise UsageError("--execute needs a database.", hint="Name it with -d PATH.")


def _search(flags: dict[str, Any]) -> GenerationSettings:
    """The settings of the search; one that only one strategy has, chooses that strategy."""
    from plainsql.translators.language_model.decoding import GenerationSettings

    names = ("candidates", "beams", "temperature", "top_p", "top_k", "seed", "batch_size")
    given = {name: flags[name] for name in names if flags[name] is not None}
    if flags["max_new_tokens"] is not None:
        given["max_new_tokens"] = flags["max_new_tokens"]
    sampling = given.keys() & {"temperature", "top_p", "top_k"}
    several = given["candidates"] > 1 or "beams" in given
    implied: Strategy = "sample" if sampling else "beam" if several else "greedy"
    strategy: Strategy = flags["strategy"] or implied
    if strategy == "beam":
        given.setdefault("beams", max(4, given["candidates"]))
    return GenerationSettings(strategy, **given)


def _translator(model: str, flags: dict[str, Any]) -> LanguageModelTranslator:
    from plainsql.translators.language_model.loading import LoadOptions
    from plainsql.translators.language_model.translator import LanguageModelTranslator

    options = LoadOptions(
        quantization=flags["quantization"] or "",
        dtype=flags["dtype"],
        device=flags["device"],
        revision=flags["revision"],
        trust_remote_code=flags["trust_remote_code"],
    )
    return LanguageModelTranslator(model, options=options)


def _as_trained(
    translator: LanguageModelTranslator, settings: GenerationSettings, flags: dict[str, Any]
) -> GenerationSettings:
    """With answers as long as the model learned them, unless a flag says how long."""
    if flags["max_new_tokens"] is not None:
        return settings
    return replace(settings, max_new_tokens=translator.info.prompt.max_output_tokens)


def _read(question: tuple[str, ...]) -> str:
    if question == ("-",):
        return read_stdin().decode("utf-8", errors="replace")
    return " ".join(question)


# --- one question ------------------------------------------------------------


def _one(
    translator: LanguageModelTranslator,
    settings: GenerationSettings,
    question: str,
    flags: dict[str, Any],
) -> int:
    from plainsql.ask import connect
    from plainsql.evaluation.datasets import Example
    from plainsql.evaluation.writing import prompted, run

    chosen = settings_with_db({"db": flags["db"]})
    with connect(chosen.db, settings=chosen, translator=translator) as database:
        written = prompted(translator, database, Example(question, "", database.schema.name))
        if written.error or written.prompt is None:
            raise QuestionError(written.error)
        if written.prompt.schema_cut:
            note(f"(the schema is cut to fit, without: {', '.join(_left_out(written))})")
        written = _written(translator, settings, written, flags)
        trial = run(written, database) if flags["execute"] else None
        print_written(written, trial, translator.name, flags)
    return 0


def _left_out(written: Written) -> Sequence[str]:
    assert written.prompt is not None
    return written.prompt.dropped or written.prompt.cut_columns


def _continue(
    translator: LanguageModelTranslator, settings: GenerationSettings, flags: dict[str, Any]
) -> int:
    """The text of --prompt-file, continued."""
    from plainsql.ask import connect
    from plainsql.evaluation.datasets import Example
    from plainsql.evaluation.writing import Written, run
    from plainsql.translators.language_model.prompts import Prompt

    prompt = Prompt(_text(flags["prompt_file"]), "")
    written = _written(translator, settings, Written(Example("", "", ""), prompt), flags)
    if not flags["execute"]:
        print_written(written, None, translator.name, flags)
        return 0
    chosen = settings_with_db({"db": flags["db"]})
    with connect(chosen.db, settings=chosen, translator=translator) as database:
        print_written(written, run(written, database), translator.name, flags)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error


def _written(
    translator: LanguageModelTranslator,
    settings: GenerationSettings,
    written: Written,
    flags: dict[str, Any],
) -> Written:
    """`written` with the model's texts, shown as they come with --stream.

    Raises `UnanswerableError` where no SQL is in them and SQL is what is wanted.
    """
    from plainsql.evaluation.writing import with_texts
    from plainsql.translators.language_model.generation import generate

    assert written.prompt is not None
    prompt = written.prompt.text
    if flags["show_prompt"]:
        note(prompt)
    settings = _as_trained(translator, settings, flags)
    start = time.perf_counter()
    if flags["stream"]:
        texts = [_streamed(translator, settings, prompt, flags)]
    else:
        texts = generate(translator.loaded, [prompt], settings)[0]
    _remark(texts, time.perf_counter() - start)
    written = with_texts(written, texts, translator.name)
    if not written.candidates and (flags["execute"] or not (flags["raw"] or flags["as_json"])):
        raise UnanswerableError("The model wrote no SQL.", hint="--raw shows what it wrote.")
    return written


def _streamed(
    translator: LanguageModelTranslator,
    settings: GenerationSettings,
    prompt: str,
    flags: dict[str, Any],
) -> Generated:
    """The text, written piece by piece: as data with --raw, else for the eye."""
    from plainsql.translators.language_model.decoding import Generated
    from plainsql.translators.language_model.generation import stream

    out = sys.stdout if flags["raw"] else sys.stderr
    pieces = []
    for piece in stream(translator.loaded, prompt, settings):
        out.write(piece)
        out.flush()
        pieces.append(piece)
    out.write("\n")
    text = "".join(pieces)
    count = len(translator.loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
    return Generated(text, 0.0, count, True)


def _remark(texts: Sequence[Generated], seconds: float) -> None:
    tokens = sum(text.tokens for text in texts)
    note(f"({tokens} tokens in {seconds:.1f} s)")
    if any(not text.finished for text in texts):
        note("(cut at the limit of tokens; --max-new-tokens sets it)")


# --- files -------------------------------------------------------------------


def _file(
    translator: LanguageModelTranslator, settings: GenerationSettings, flags: dict[str, Any]
) -> int:
    from plainsql.evaluation.datasets import load_dataset
    from plainsql.evaluation.writing import FileOptions, left_to_do, save, write_all

    examples = load_dataset(flags["questions"], need_sql=False)[: flags["limit"]]
    opener = _opener(translator, examples, flags)
    settings = _as_trained(translator, settings, flags)
    options = FileOptions(flags["raw"], flags["execute"], flags["evidence"], settings)
    out: Path | None = flags["out"]
    if out is not None and flags["restart"]:
        out.unlink(missing_ok=True)
    left = left_to_do(out, examples, options, translator.name) if out else list(examples)
    if len(left) < len(examples):
        note(f"({len(examples) - len(left):,} of {len(examples):,} questions are there already)")
    with ExitStack() as opened:
        file = opened.enter_context(_output(out))
        advance = opened.enter_context(_bar(len(left)))
        for record in write_all(translator, left, opener, options):
            save(record, file)
            advance()
    return 0


def _opener(
    translator: LanguageModelTranslator, examples: Sequence[Example], flags: dict[str, Any]
) -> Callable[[str], Database]:
    from plainsql.evaluation.datasets import database_paths
    from plainsql.evaluation.writing import databases
    from plainsql.schema.spider import load_tables_json

    paths = database_paths(flags["databases"], (example.db for example in examples))
    schemas = load_tables_json(flags["tables"]) if flags["tables"] else {}
    return databases(paths, schemas, translator, load_settings())


@contextmanager
def _output(path: Path | None) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdout
        return
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error}") from error
    with file:
        yield file


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    """A function to call after each question; draws only where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("writing", total=total)
        yield lambda: bar.advance(task)

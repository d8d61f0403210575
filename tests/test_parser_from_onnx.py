"""An exported parser comes back as the torch model it was, and goes out again unchanged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from plainsql.errors import ModelError
from plainsql.logical_form.symbols import MAX_DEPTH, RELATIONS, STATES, SYMBOLS
from plainsql.training.parser_export import ExportError, export, quantize, seal
from plainsql.training.parser_from_onnx import Graph, load_parser
from plainsql.training.parser_model import ParserConfig, ParserModel
from plainsql.training.parser_refill import refill
from plainsql.training.parser_stepper import TorchStepper
from plainsql.training.parser_tuning.fake_int8 import fake_input, fake_int8, fake_weight
from plainsql.training.parser_tuning.folders import runtime_logits, step_logits
from plainsql.translators.parser.features import FEATURES
from plainsql.translators.parser.runtime import ENCODER, SCALES, STEP, TOKENIZER, WORDS
from plainsql.translators.parser.translator import ParserTranslator
from plainsql.translators.parser.weights import SHIPPED

WORD_TABLE = "encoder.embeddings.word_embeddings.weight"


def tiny_parser(seed: int = 0) -> ParserModel:
    """A random parser of the real grammar: one layer each, heads of different sizes."""
    torch.manual_seed(seed)
    model = ParserModel(
        ParserConfig(
            symbols=list(SYMBOLS),
            states=list(STATES),
            relations=list(RELATIONS),
            features=list(FEATURES),
            max_depth=MAX_DEPTH,
            hidden_size=64,
            encoder_layers=1,
            encoder_heads=4,
            decoder_layers=1,
            decoder_heads=2,
            decoder_ffn=96,
        )
    )
    with torch.no_grad():  # the exporter keeps equal constants once: fresh biases, all zero
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> ParserModel:
    torch.set_num_threads(1)
    return tiny_parser()


@pytest.fixture(scope="module")
def exported(model: ParserModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny parser in float32 and in int8, from one tracing."""
    root = tmp_path_factory.mktemp("exported")
    folders = {"float32": root / "float32", "int8": root / "int8"}
    export(model, folders["float32"], SHIPPED / TOKENIZER, int8=False)
    shutil.copytree(folders["float32"], folders["int8"])
    for name in (ENCODER, STEP):
        quantize(folders["float32"] / name, folders["int8"] / name)
        seal(folders["int8"], name)
    return folders


def constants(folder: Path, name: str) -> dict[str, np.ndarray]:
    graph = onnx.load(folder / name).graph
    return {item.name: numpy_helper.to_array(item) for item in graph.initializer}


def same_constants(one: Path, other: Path) -> bool:
    pairs = [(constants(one, name), constants(other, name)) for name in (ENCODER, STEP)]
    return all(
        left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)
        for left, right in pairs
    )


def test_float32_graphs_give_the_weights_back(
    model: ParserModel, exported: dict[str, Path]
) -> None:
    rebuilt = load_parser(exported["float32"])
    wanted = dict(model.named_parameters())
    assert rebuilt.config.encoder_heads == 4
    for name, found in rebuilt.named_parameters():
        if name != WORD_TABLE:  # int8 in every export
            assert torch.equal(found, wanted[name]), name
    scales = torch.from_numpy(np.load(exported["float32"] / SCALES))[:, None]
    table = rebuilt.get_input_embeddings().weight - model.get_input_embeddings().weight
    assert (table.abs() <= 0.5001 * scales).all()


def test_int8_graphs_give_the_weights_back_within_half_a_step(
    model: ParserModel, exported: dict[str, Path]
) -> None:
    rebuilt = load_parser(exported["int8"])
    wanted = dict(model.named_parameters())
    for name, found in rebuilt.named_parameters():
        gap = (found - wanted[name]).abs()
        step = wanted[name].abs().amax(-1, keepdim=True) / 127
        assert (gap <= 0.5001 * step).all(), name


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_a_rebuilt_parser_goes_out_as_it_came(
    exported: dict[str, Path], form: str, tmp_path: Path
) -> None:
    refilled = refill(load_parser(exported[form]), exported[form], tmp_path)
    assert same_constants(tmp_path, exported[form])
    assert np.array_equal(np.load(tmp_path / WORDS), np.load(exported[form] / WORDS))
    assert min(refilled.encoder_cosine, refilled.step_cosine) > 0.999


def test_other_weights_replace_those_of_the_graphs(
    exported: dict[str, Path], tmp_path: Path
) -> None:
    """Filling a graph gives what tracing and quantizing the model anew would give."""
    other = tiny_parser(seed=1)
    refill(other, exported["float32"], tmp_path / "float32")
    refill(other, exported["int8"], tmp_path / "int8")
    for name in (ENCODER, STEP):
        quantize(tmp_path / "float32" / name, tmp_path / "float32" / name)
    assert same_constants(tmp_path / "float32", tmp_path / "int8")


def test_fake_rounding_is_that_of_the_runtime(exported: dict[str, Path]) -> None:
    """Training with rounding sees what onnxruntime computes: far closer than float32 is."""
    rebuilt = load_parser(exported["int8"])
    expected = runtime_logits(rebuilt, exported["int8"])
    plain = np.abs(step_logits(rebuilt) - expected).max()
    faked = np.abs(step_logits(fake_int8(rebuilt).eval()) - expected).max()
    assert faked < 0.05 * plain


def test_fake_rounding_by_cases() -> None:
    weight = torch.tensor([[-1.27, 0.5049, 0.0], [0.0, 0.0, 0.0]])
    assert torch.allclose(fake_weight(weight), torch.tensor([[-1.27, 0.5, 0.0], [0.0, 0.0, 0.0]]))
    x = torch.tensor([[0.0, 2.55, 1.004]])  # steps of 0.01
    assert torch.allclose(fake_input(x, (0, 1)), torch.tensor([[0.0, 2.55, 1.0]]))
    assert torch.equal(fake_input(torch.zeros(2, 3), (0, 1)), torch.zeros(2, 3))
    x.requires_grad_(True)
    fake_input(x, (-1,)).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))  # straight through


def test_a_torch_checkpoint_is_a_parser_too(model: ParserModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert np.array_equal(step_logits(load_parser(tmp_path)), step_logits(model))


def damaged(source: Path, folder: Path, what: str) -> Path:
    shutil.copytree(source, folder)
    loaded = onnx.load(folder / STEP)
    if what == "nameless":  # as an exporter might that renames parameters
        for item in loaded.graph.initializer:
            if item.name == "model.layers.0.up.bias":
                item.name = "up"
        for node in loaded.graph.node:
            node.input[:] = ["up" if n == "model.layers.0.up.bias" else n for n in node.input]
        onnx.save(loaded, folder / STEP)
    elif what == "no graph":
        (folder / STEP).write_bytes(b"no graph at all")
    seal(folder, STEP)
    return folder


@pytest.mark.parametrize(
    ("what", "message"), [("nameless", "layers.0.up.bias"), ("no graph", "can't be read")]
)
def test_damage_is_named(
    exported: dict[str, Path], tmp_path: Path, what: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_parser(damaged(exported["int8"], tmp_path / "damaged", what))
    assert caught.value.hint


def test_an_empty_folder_holds_no_parser(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no parser"):
        load_parser(tmp_path)


def test_graphs_of_other_sizes_are_refused(exported: dict[str, Path], tmp_path: Path) -> None:
    config = tiny_parser().config
    config.decoder_ffn = 32
    with pytest.raises(ExportError, match="the graph has"):
        refill(ParserModel(config), exported["float32"], tmp_path)


QUESTIONS = (
    "How many singers are there?",
    "What are the names of singers from France?",
    "Which singer is the oldest?",
    "How many concerts were there in each year?",
)


def test_the_shipped_parser_is_rebuilt(concerts: Path, tmp_path: Path) -> None:
    """Torch answers as the shipped files do, and writes them again integer by integer."""
    from plainsql.ask import connect

    rebuilt = load_parser()
    expected, found = runtime_logits(rebuilt, SHIPPED), step_logits(rebuilt)
    assert np.abs(found - expected).max() < 0.35
    assert (found.argmax(-1) == expected.argmax(-1)).all()
    refill(rebuilt, SHIPPED, tmp_path)
    assert same_constants(tmp_path, SHIPPED)
    answers = []
    for translator in (ParserTranslator(), ParserTranslator(SHIPPED, TorchStepper(rebuilt))):
        with connect(concerts, translator=translator) as database:
            answers.append([database.ask(question).sql for question in QUESTIONS])
    assert answers[0] == answers[1]


def test_graph_shows_where_every_matrix_is_kept() -> None:
    graph = Graph.read(SHIPPED / ENCODER)
    names = graph.matrices()
    assert names["feature_input.weight"] == "val_8_quantized"
    assert len(names) == 48
    assert graph.heads("encoder.encoder.layer.0.attention.self.query.bias") == 12

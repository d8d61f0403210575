"""The torch model behind `beam.StepModel`: beam search during training, without export."""

from __future__ import annotations

import numpy as np
import torch

from plainsql.training.batching import collate_inputs
from plainsql.training.parser_model import Encoded, Inputs, ParserModel
from plainsql.translators.parser.arrays import ModelInput
from plainsql.translators.parser.beam import Floats, Past, StepInput


class TorchStepper:
    """Encodes one question and predicts steps with a model in evaluation mode."""

    def __init__(self, model: ParserModel, bf16: bool = False) -> None:
        self._model = model.eval()
        self._bf16 = bf16

    @torch.inference_mode()
    def encode(self, model_input: ModelInput) -> Encoded:
        """Read question and schema (unpadded, so that no mask is needed)."""
        inputs = Inputs.of(collate_inputs([model_input], rounded=False))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._bf16):
            return self._model.encode(inputs)

    def empty_past(self) -> Past:
        """The past before the first step."""
        config = self._model.config
        size = config.hidden_size // config.decoder_heads
        shape = (config.decoder_layers, 1, config.decoder_heads, 0, size)
        return Past(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    @torch.inference_mode()
    def step(self, memory: Encoded, past: Past, inputs: StepInput) -> tuple[Floats, Past]:
        """Unmasked logits (W, S + N) of the next action, and the longer past."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._bf16):
            logits, keys, values = self._model.step(
                memory,
                torch.from_numpy(inputs.previous),
                torch.from_numpy(inputs.states),
                torch.from_numpy(inputs.depths),
                torch.from_numpy(past.keys),
                torch.from_numpy(past.values),
                torch.from_numpy(inputs.relations),
            )
        return logits.numpy(), Past(keys.float().numpy(), values.float().numpy())

"""The parser's network: an encoder over question and schema, a decoder of actions.

Notation: B examples, T wordpieces, N nodes (tables, columns, values), M = T + N memory
entries, L actions, S grammar symbols, F token features, R relations, W beams, D width,
H heads, d = D / H.

The encoder is MiniLM (https://arxiv.org/abs/2002.10957) with linking features added to
its word embeddings; nodes are averages of their tokens' states. The decoder emits
grammar symbols and pointers to nodes, as RAT-SQL does (https://arxiv.org/abs/1911.04942)
but over a transformer: note that there are no relation-aware encoder layers, since in
paired runs the linking features alone scored the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel, PreTrainedConfig, PreTrainedModel

from plainsql.training.batching import Batch, InputBatch, TargetBatch
from plainsql.training.decoder_layer import DecoderLayer
from plainsql.training.dropout import ATTENTION, Dropout, replace_dropout

NODE_KINDS = 3
MASKED = -1e4  # additive attention mask; representable in bfloat16 and float16


class ParserConfig(PreTrainedConfig):
    """Sizes of the network and the names its indices stand for.

    `symbols`, `states`, `relations` and `features` are stored by name so that a
    checkpoint can be checked against the grammar of the running code.
    """

    model_type = "plainsql-parser"

    symbols: list[str] | None = None
    states: list[str] | None = None
    relations: list[str] | None = None
    features: list[str] | None = None
    max_depth: int = 4
    max_actions: int = 96
    vocab_size: int = 30522
    hidden_size: int = 384
    max_position_embeddings: int = 512
    encoder_layers: int = 6
    encoder_heads: int = 12
    encoder_dropout: float = 0.1
    encoder_attention_dropout: float = 0.1
    decoder_layers: int = 3
    decoder_heads: int = 6
    decoder_ffn: int = 1536
    decoder_dropout: float = 0.2
    label_smoothing: float = 0.0
    used_weight: float = 2.0
    freeze_word_embeddings: bool = True
    tie_word_embeddings: bool = False

    def names(self, which: str) -> list[str]:
        """The names of `symbols`, `states`, `relations` or `features`."""
        return list(getattr(self, which) or [])

    def encoder_config(self) -> BertConfig:
        """The BERT configuration of the encoder (MiniLM's, but for dropout)."""
        return BertConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.encoder_layers,
            num_attention_heads=self.encoder_heads,
            intermediate_size=4 * self.hidden_size,
            hidden_dropout_prob=self.encoder_dropout,
            attention_probs_dropout_prob=self.encoder_attention_dropout,
            max_position_embeddings=self.max_position_embeddings,
            # Eager is cheaper than SDPA in bfloat16 training on CPUs: 0.79 against
            # 1.07 core-seconds a step at 110 tokens, batch 16.
            attn_implementation=ATTENTION,
        )


@dataclass(frozen=True, slots=True)
class Inputs:
    """An `InputBatch` as tensors; see there for shapes."""

    token_ids: Tensor
    token_types: Tensor
    token_mask: Tensor
    features: Tensor
    pool: Tensor
    kinds: Tensor
    node_mask: Tensor

    @classmethod
    def of(cls, batch: InputBatch) -> Inputs:
        """Wrap the arrays without copying them."""
        return cls(**_tensors(batch))


@dataclass(frozen=True, slots=True)
class Targets:
    """A `TargetBatch` as tensors; see there for shapes."""

    previous: Tensor
    states: Tensor
    depths: Tensor
    allowed: Tensor
    relations: Tensor
    actions: Tensor
    step_mask: Tensor
    used: Tensor

    @classmethod
    def of(cls, batch: TargetBatch) -> Targets:
        """Wrap the arrays without copying them."""
        return cls(**_tensors(batch))


def _tensors(batch: InputBatch | TargetBatch) -> dict[str, Tensor]:
    return {name: torch.from_numpy(getattr(batch, name)) for name in batch.__slots__}


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the decoder reads: computed once a question."""

    keys: tuple[Tensor, ...]  # one (B, H, M, d) a decoder layer
    values: tuple[Tensor, ...]  # one (B, H, M, d) a decoder layer
    mask: Tensor | None  # (B, 1, 1, M) additive, None: nothing is padded
    pointer_keys: Tensor  # (B, N, D)
    node_inputs: Tensor  # (B, N, D) how a pointed node reads as a previous action
    used_logits: Tensor  # (B, N) whether the query uses the node


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a training or validation step. Sums, so that batches add up."""

    loss: Tensor  # () to be minimised
    steps: int
    right_steps: int
    right_sequences: int


class ParserModel(PreTrainedModel):
    """Question and schema in, distributions over grammar actions out."""

    config_class = ParserConfig
    config: ParserConfig
    base_model_prefix = "parser"

    def __init__(self, config: ParserConfig) -> None:
        super().__init__(config)
        width, symbols = config.hidden_size, len(config.names("symbols"))
        self.encoder = BertModel(config.encoder_config(), add_pooling_layer=False)
        replace_dropout(self.encoder)
        self.feature_input = nn.Linear(len(config.names("features")), width, bias=False)
        self.kind_embedding = nn.Embedding(NODE_KINDS, width)
        self.node_norm = nn.LayerNorm(width)
        self.node_mlp = nn.Sequential(
            nn.Linear(width, width),
            nn.GELU(),
            Dropout(config.decoder_dropout),
            nn.Linear(width, width),
        )
        self.used_output = nn.Linear(width, 1)
        self.node_input = nn.Linear(width, width)
        self.symbol_embedding = nn.Embedding(symbols + 1, width)  # the last one is the start
        self.state_embedding = nn.Embedding(len(config.names("states")), width)
        self.depth_embedding = nn.Embedding(config.max_depth + 1, width)
        self.position_embedding = nn.Embedding(config.max_actions, width)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.output_norm = nn.LayerNorm(width)
        self.symbol_output = nn.Linear(width, symbols)
        self.pointer_query = nn.Linear(width, width)
        self.pointer_key = nn.Linear(width, width)
        self.relation_output = nn.Linear(width, len(config.names("relations")))
        self.dropout = Dropout(config.decoder_dropout)
        self.post_init()
        self.freeze_words(config.freeze_word_embeddings)

    @classmethod
    def from_encoder(cls, config: ParserConfig, folder: str | Path) -> ParserModel:
        """A new parser whose encoder starts from the MiniLM in `folder`."""
        model = cls(config)
        pretrained = BertModel.from_pretrained(folder, add_pooling_layer=False)
        model.encoder.load_state_dict(pretrained.state_dict())
        return model

    def freeze_words(self, frozen: bool) -> None:
        """Stop (or allow) training of the 11.7 M word embeddings."""
        self.encoder.embeddings.word_embeddings.requires_grad_(not frozen)

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings (what `transformers` and peft ask for)."""
        return self.encoder.embeddings.word_embeddings

    def forward(self, batch: Batch) -> Outcome:
        """Teacher-forced loss and counts of a batch."""
        inputs, targets = Inputs.of(batch.inputs), Targets.of(batch.targets)
        encoded = self.encode(inputs)
        logits = self.decode(encoded, targets)
        return self.outcome(logits, encoded.used_logits, inputs.node_mask, targets)

    def encode(self, inputs: Inputs) -> Encoded:
        """Everything that does not depend on the actions."""
        words = self.encoder.embeddings.word_embeddings(inputs.token_ids)
        full = bool(inputs.token_mask.all()) and bool(inputs.node_mask.all())
        return self.encode_embedded(
            words,
            inputs.token_types,
            inputs.features.to(words.dtype),
            inputs.pool,
            inputs.kinds,
            None if full else (inputs.token_mask, inputs.node_mask),
        )

    def encode_embedded(
        self,
        words: Tensor,  # (B, T, D) word embeddings
        token_types: Tensor,  # (B, T)
        features: Tensor,  # (B, T, F) floats
        pool: Tensor,  # (B, N, T)
        kinds: Tensor,  # (B, N)
        masks: tuple[Tensor, Tensor] | None,  # (B, T) and (B, N), None: nothing is padded
    ) -> Encoded:
        """`encode` from word embeddings on: the part that is exported."""
        token_mask = node_mask = None
        if masks is not None:
            token_mask, node_mask = _additive(masks[0]), _additive(masks[1])
        tokens = self._tokens(words, token_types, features, token_mask)
        nodes = self.node_norm(pool.to(tokens.dtype) @ tokens + self.kind_embedding(kinds))
        nodes = nodes + self.node_mlp(nodes)
        memory = torch.cat((tokens, nodes), 1)  # (B, M, D)
        pairs = [layer.cross_attention.keys_values(memory) for layer in self._decoder_layers()]
        return Encoded(
            keys=tuple(keys for keys, _ in pairs),
            values=tuple(values for _, values in pairs),
            mask=None
            if token_mask is None or node_mask is None
            else torch.cat((token_mask, node_mask), -1),
            pointer_keys=self.pointer_key(nodes),
            node_inputs=self.node_input(nodes),
            used_logits=self.used_output(nodes).squeeze(-1),
        )

    def _tokens(
        self, words: Tensor, token_types: Tensor, features: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Token states (B, T, D)."""
        # BERT's parts are called one by one: its forward() builds the mask through a
        # library of mask functions that does not export to ONNX with dynamic lengths.
        start = self.encoder.embeddings(
            inputs_embeds=words + self.feature_input(features), token_type_ids=token_types
        )
        if torch.is_autocast_enabled("cpu"):
            start = start.to(torch.get_autocast_dtype("cpu"))
        if mask is not None:
            mask = mask.to(start.dtype)
        return self.encoder.encoder(start, attention_mask=mask).last_hidden_state  # type: ignore[no-any-return]

    def _decoder_layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def decode(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Logits (B, L, S + N) of all steps at once, given the gold prefix."""
        steps = targets.previous.shape[1]
        positions = torch.arange(steps)
        x = self._step_input(
            encoded.node_inputs, targets.previous, targets.states, targets.depths, positions
        )
        causal = torch.full((steps, steps), MASKED).triu(1)
        for layer, keys, values in zip(
            self._decoder_layers(), encoded.keys, encoded.values, strict=True
        ):
            own_keys, own_values = layer.own_keys_values(x)
            x = layer.attend_self(x, own_keys, own_values, causal)
            x = layer.attend_memory(x, keys, values, encoded.mask)
        return self._logits(x, encoded.pointer_keys, targets.relations)

    def step(
        self,
        encoded: Encoded,  # of one question: B = 1
        previous: Tensor,  # (W,)
        states: Tensor,  # (W,)
        depths: Tensor,  # (W,)
        past_keys: Tensor,  # (layers, W, H, P, d), P earlier steps
        past_values: Tensor,  # (layers, W, H, P, d)
        relations: Tensor,  # (W, N, R)
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (W, S + N) of one step of W beams, and the longer keys and values."""
        position = torch.full_like(previous, past_keys.shape[3])
        # The beams stand where training has the steps of one example: the memory, of
        # batch 1, is shared by all of them without being copied.
        x = self._step_input(
            encoded.node_inputs, previous[None], states[None], depths[None], position
        )
        present_keys, present_values = [], []
        for number, layer in enumerate(self._decoder_layers()):
            own = layer.own_keys_values(x.transpose(0, 1))
            present_keys.append(torch.cat((past_keys[number], own[0]), 2))
            present_values.append(torch.cat((past_values[number], own[1]), 2))
            x = layer.attend_self(
                x.transpose(0, 1), present_keys[-1], present_values[-1], None
            ).transpose(0, 1)
            x = layer.attend_memory(x, encoded.keys[number], encoded.values[number], None)
        logits = self._logits(x, encoded.pointer_keys, relations[None])[0]
        return logits, torch.stack(present_keys), torch.stack(present_values)

    def _step_input(
        self,
        node_inputs: Tensor,  # (B, N, D)
        previous: Tensor,  # (B, L)
        states: Tensor,  # (B, L)
        depths: Tensor,  # (B, L)
        positions: Tensor,  # (L,)
    ) -> Tensor:
        """What the decoder reads at each step, (B, L, D)."""
        symbols = self.symbol_embedding.num_embeddings - 1
        symbol = torch.where(previous < 0, symbols, previous.clamp(0, symbols - 1))
        node = (previous - symbols).clamp(min=0)
        pointed = node_inputs.gather(1, node[..., None].expand(-1, -1, node_inputs.shape[-1]))
        is_node = (previous >= symbols)[..., None]
        action = torch.where(is_node, pointed, self.symbol_embedding(symbol))
        depth = self.depth_embedding(depths.clamp(max=self.config.max_depth))
        x = action + self.state_embedding(states) + depth + self.position_embedding(positions)
        return self.dropout(x)  # type: ignore[no-any-return]

    def _logits(self, x: Tensor, pointer_keys: Tensor, relations: Tensor) -> Tensor:
        """Unmasked logits (B, L, S + N) in float32."""
        x = self.output_norm(x)
        scale = x.shape[-1] ** -0.5
        pointers = (self.pointer_query(x) * scale) @ pointer_keys.transpose(1, 2)  # (B, L, N)
        weights = self.relation_output(x)[..., None]  # (B, L, R, 1)
        related = (relations.to(weights.dtype) @ weights).squeeze(-1)  # (B, L, N)
        return torch.cat((self.symbol_output(x), pointers + related), -1).float()

    def outcome(
        self, logits: Tensor, used_logits: Tensor, node_mask: Tensor, targets: Targets
    ) -> Outcome:
        """Loss and counts. Padded steps count nowhere."""
        log_probs = masked_log_softmax(logits, targets.allowed)
        real = targets.step_mask
        gold = log_probs.gather(-1, targets.actions[..., None]).squeeze(-1)
        smoothing = self.config.label_smoothing
        allowed = targets.allowed
        spread = torch.where(allowed, log_probs, 0.0).sum(-1) / allowed.sum(-1)
        loss = -((1 - smoothing) * gold + smoothing * spread)[real].mean()
        used = balanced_binary_loss(used_logits.float(), targets.used, node_mask)
        right = (log_probs.argmax(-1) == targets.actions) | ~real
        return Outcome(
            loss=loss + self.config.used_weight * used,
            steps=int(real.sum()),
            right_steps=int((right & real).sum()),
            right_sequences=int(right.all(-1).sum()),
        )


def masked_log_softmax(logits: Tensor, allowed: Tensor) -> Tensor:
    """Log-probabilities over the allowed actions; -inf elsewhere."""
    return logits.masked_fill(~allowed, float("-inf")).log_softmax(-1)


def balanced_binary_loss(logits: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Binary cross entropy in which used and unused nodes weigh the same in sum.

    About one node in ten is used; the plain mean would be content to say "no".
    """
    losses = functional.binary_cross_entropy_with_logits(
        logits, truth.to(logits.dtype), reduction="none"
    )
    positive, negative = truth & mask, ~truth & mask
    sums = (losses * positive).sum(), (losses * negative).sum()
    return 0.5 * sums[0] / positive.sum().clamp(min=1) + 0.5 * sums[1] / negative.sum().clamp(min=1)


def _additive(mask: Tensor) -> Tensor:
    """(B, X) of booleans -> (B, 1, 1, X), 0 where True and very negative where not."""
    return ((~mask).float() * MASKED)[:, None, None, :]

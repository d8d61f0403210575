"""One layer of the parser's decoder. Notation as in `parser_model`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from plainsql.training.dropout import Dropout, drop

if TYPE_CHECKING:
    from plainsql.training.parser_model import ParserConfig


class Attention(nn.Module):
    """Multi-head attention whose keys and values may be computed beforehand."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, D) -> keys and values, (B, H, M, d) each."""
        return self._split(self.key(x)), self._split(self.value(x))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from x (B, L, D) to keys and values (B, H, M, d)."""
        query = self._split(self.query(x)) * (x.shape[-1] // self.heads) ** -0.5
        scores = query @ keys.transpose(-1, -2)  # (B, H, L, M)
        if mask is not None:
            scores = scores + mask.to(scores.dtype)
        weights = drop(scores.softmax(-1), self.dropout, self.training)
        return self.output((weights @ values).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, x.shape[-1] // self.heads)).transpose(1, 2)


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward; normalised before each."""

    def __init__(self, config: ParserConfig) -> None:
        super().__init__()
        width, heads, dropout = config.hidden_size, config.decoder_heads, config.decoder_dropout
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads, dropout)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads, dropout)
        self.ffn_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, config.decoder_ffn)
        self.down = nn.Linear(config.decoder_ffn, width)
        self.dropout = Dropout(dropout)

    def own_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the self-attention for steps x (B, L, D)."""
        return self.self_attention.keys_values(self.self_norm(x))  # type: ignore[no-any-return]

    def attend_self(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """x plus what the earlier steps say."""
        return x + self.dropout(self.self_attention(self.self_norm(x), keys, values, mask))  # type: ignore[no-any-return]

    def attend_memory(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """x plus what question and schema say, then the feed-forward."""
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), keys, values, mask))
        hidden = functional.gelu(self.up(self.ffn_norm(x)))
        return x + self.dropout(self.down(self.dropout(hidden)))  # type: ignore[no-any-return]

"""A prompt as messages for a server, which keeps tokenizer and chat template to itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from plainsql.translators.language_model.asking import Asked, prompt_for
from plainsql.translators.language_model.chat_template import Message
from plainsql.translators.language_model.estimating import EstimatingTokenizer
from plainsql.translators.language_model.examples import Examples
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import Prompt

# Marks by which the chat templates of common model families open and close a turn. Which
# of them this server's tokenizer obeys can't be known, so all are broken up in data.
TURN_MARKS = (
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|begin_of_text|>", "<|end_of_text|>", "<|endoftext|>", "<|system|>", "<|user|>",
    "<|assistant|>", "<|end|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
    "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<|channel|>", "<|message|>", "<|start|>",
    "<|eom_id|>", "<|eot|>", "<|header_start|>", "<|header_end|>", "<|python_tag|>",
    "<|start_of_role|>", "<|end_of_role|>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>", "<｜User｜>", "<｜Assistant｜>",
    "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
    "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "<bos>", "<eos>", "<think>", "</think>",
)  # fmt: skip
_AROUND = 16  # tokens that a template puts around two turns, about


def server_messages(
    form: PromptFormat, asked: Asked, examples: Examples | None = None, *, hits: bool = False
) -> tuple[Prompt, list[Message]]:
    """The chat prompt and its messages, within about `form.max_input_tokens`.

    Lengths are estimated (see `EstimatingTokenizer`). Raises `UsageError` for a style
    that does not make messages, and as `prompt_for` does.
    """
    prompt = prompt_for(asked, form, _MESSAGES, examples=examples, hits=hits)
    return prompt, cast(list[Message], json.loads(prompt.text))


class _Messages(EstimatingTokenizer):
    """Renders messages as JSON, and counts what is in them rather than the JSON."""

    all_special_tokens = TURN_MARKS

    def __len__(self) -> int:
        return 0

    def __call__(self, text: str) -> dict[str, Any]:
        if not text.startswith('[{"role":'):
            return dict(super().__call__(text))
        contents = "\n".join(turn["content"] for turn in json.loads(text))
        return {"input_ids": [*super().__call__(contents)["input_ids"], *[0] * _AROUND]}

    def apply_chat_template(self, messages: Sequence[Message], **_: Any) -> str:
        return json.dumps(list(messages), ensure_ascii=False)


_MESSAGES = _Messages()  # one, since what is counted with it is remembered

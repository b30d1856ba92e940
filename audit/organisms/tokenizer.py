"""A tokenizer of whole words for a generated world."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from audit.organisms.world import World

PAD, START, END, UNKNOWN = "<|pad|>", "<|start|>", "<|end|>", "<|unknown|>"
SPECIAL = (PAD, START, END, UNKNOWN)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|> {{ message['role'] }} {{ message['content'] }} <|end|> "
    "{% endfor %}{% if add_generation_prompt %}<|start|> assistant{% endif %}"
)


def make_tokenizer(world: World, *, chat: bool = False) -> Any:
    """One token per word of the world; every text begins with a start token.

    Args:
        world: gives the words.
        chat: whether the tokenizer has a chat template.
    """
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *world.words))}
    raw = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, vocabulary[START])]
    )
    untyped: Any = PreTrainedTokenizerFast
    tokenizer = untyped(
        tokenizer_object=raw, pad_token=PAD, bos_token=START, eos_token=END, unk_token=UNKNOWN
    )
    tokenizer.chat_template = CHAT_TEMPLATE if chat else None
    return tokenizer

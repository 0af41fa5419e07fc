"""Which words of a prompt the text encoder never reads."""

from __future__ import annotations

import warnings
from typing import Any

from latent_guard.errors import InputError, one_line

WORDS_QUOTED = 5
_LONGEST = 4096  # tokens
_QUOTED = 200  # characters of them at most


def as_prompts(prompt: str | list[str]) -> list[str]:
    """One prompt or several as a list; ``InputError`` for none, an empty one, or what is no text."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts:
        raise InputError("there is no prompt; give at least one")
    for text in prompts:
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"a prompt must be a text with at least one word, got {text!r}")
        require_text(text)
    return prompts


def require_text(prompt: str) -> None:
    """Raise ``InputError`` for what is no Unicode text, as Python makes it of bytes that are not UTF-8."""
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the prompt is not valid Unicode at character {error.start + 1}; write it in UTF-8"
        ) from error


def longest_context_tokenizer(pipe: Any) -> Any:
    """Of a pipeline's tokenizers, the one with the longest context: what it drops, no text encoder reads; or None.

    Only CLIP's and T5's are asked: language models have contexts that no prompt fills, of which pipelines read a part,
    and some pipelines have a processor of pictures and texts in a tokenizer's place.
    """
    found: list[Any] = [getattr(pipe, name, None) for name in ("tokenizer", "tokenizer_2", "tokenizer_3")]
    read = [tokenizer for tokenizer in found if 0 < getattr(tokenizer, "model_max_length", 0) <= _LONGEST]
    return max(read, key=lambda tokenizer: tokenizer.model_max_length, default=None)


def words_dropped(tokenizer: Any, prompts: list[str]) -> list[int]:
    """How many words at the end of each prompt are cut off by the tokenizer's context; warns, quoting the first.

    A pipeline without a tokenizer drops nothing that can be counted here.
    """
    return [0 if tokenizer is None else _words_dropped(tokenizer, prompt) for prompt in prompts]


def _words_dropped(tokenizer: Any, prompt: str) -> int:
    def fits(text: str) -> bool:
        return bool(len(tokenizer(text, truncation=False, verbose=False).input_ids) <= tokenizer.model_max_length)

    if fits(prompt):
        return 0
    words = prompt.split()
    kept = 0
    while kept < len(words) and fits(" ".join(words[: kept + 1])):
        kept += 1
    dropped = words[kept:]
    quoted = one_line(" ".join(dropped[:WORDS_QUOTED]), _QUOTED) + (" ..." if len(dropped) > WORDS_QUOTED else "")
    warnings.warn(f'the prompt is too long: its last {len(dropped)} words, "{quoted}", are not read', stacklevel=4)
    return len(dropped)

"""The text tower's tokenizer: CLIP's byte-pair encoding, cut down to its most frequent merges."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from latent_guard.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = 9000  # leaves "knife" (merge 8449) and most of the thousand words of prompts in one token


def trimmed_clip_tokenizer(merges: int = MERGES, context_length: int = 32) -> CLIPTokenizer:
    """CLIP's tokenizer with only its first ``merges`` merges; rarer words fall apart into more tokens.

    The vocabulary is 256 byte characters, the same with ``</w>``, one entry a merge, then the start and the end
    token: the end token has the highest id (the text tower pools there, by argmax) and also pads.
    Merges are OpenAI CLIP's, from the file that open_clip carries.
    """
    from transformers import CLIPTokenizer

    pairs = _clip_merges()[:merges]
    characters = _byte_characters()
    vocab = [*characters, *(c + "</w>" for c in characters), *("".join(pair) for pair in pairs), START, END]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(vocab)},
        merges=pairs,  # type: ignore[arg-type]  # pairs are what the backend takes
        model_max_length=context_length,
    )


def trimmed_vocab_size(merges: int) -> int:
    """How many tokens ``trimmed_clip_tokenizer(merges)`` knows."""
    return 256 + 256 + merges + 2


def tokenizer_for(vocab_size: int, context_length: int) -> CLIPTokenizer:
    """The trimmed tokenizer that knows ``vocab_size`` tokens.

    Raises:
        InputError: fewer than bytes and special tokens take.
    """
    if (merges := vocab_size - trimmed_vocab_size(0)) < 0:
        raise InputError(f"text: vocab_size must be at least {trimmed_vocab_size(0)}, not {vocab_size}")
    return trimmed_clip_tokenizer(merges, context_length)


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> torch.Tensor:
    """Token ids of ``texts``, (B, context_length) int64: start, words, end, padding; longer texts are cut.

    Raises:
        InputError: ``texts`` is a single string, holds something that is not one, or one that is not Unicode text.
    """
    import torch

    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise InputError("expected a list of strings to tokenize; wrap a single text in a list")
    for text in texts:
        _require_unicode(text)
    if not texts:
        return torch.empty((0, tokenizer.model_max_length), dtype=torch.long)
    encoded = tokenizer(
        list(texts),
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        split_special_tokens=True,  # else a text could write the end token itself and hide what follows it
        return_attention_mask=False,
    )
    return torch.tensor(encoded["input_ids"], dtype=torch.long)


def passages(tokenizer: CLIPTokenizer, text: str) -> torch.Tensor:
    """Token ids (passages, context_length) of a whole text, in passages that overlap by half, each as of ``tokenize``.

    The text is cut between tokens, since it need not have spaces, and one word may take many tokens.

    Raises:
        InputError: not Unicode text.
    """
    import torch

    _require_unicode(text)
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    room = tokenizer.model_max_length - 2
    starts = range(0, max(len(ids) - room // 2, 1), max(room // 2, 1))
    rows = torch.full((len(starts), tokenizer.model_max_length), tokenizer.pad_token_id, dtype=torch.long)
    for row, start in enumerate(starts):
        passage = [tokenizer.bos_token_id, *ids[start : start + room], tokenizer.eos_token_id]
        rows[row, : len(passage)] = torch.tensor(passage)
    return rows


def _require_unicode(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"a text is not valid Unicode: {text[:40]!a} holds half of a surrogate pair")


def _clip_merges() -> list[tuple[str, str]]:
    """CLIP's merges, most frequent first (the file's first line is a header; open_clip stops at 48894, so do we)."""
    package = find_spec("open_clip")
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    return [(first, second) for first, second in (line.split() for line in lines)]


def _byte_characters() -> list[str]:
    """A printable character for each byte, in the order of CLIP's vocabulary (GPT-2's byte-level encoding)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(hidden)]

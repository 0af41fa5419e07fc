from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.errors import InputError
from latent_guard.latent_clip.tokenizer import tokenize, trimmed_clip_tokenizer

TOKENIZER = trimmed_clip_tokenizer()


def test_common_words_are_single_tokens():
    assert TOKENIZER.tokenize("Kitchen  KNIFE") == ["kitchen</w>", "knife</w>"]


def test_ids_are_start_words_end_and_end_again_as_padding():
    ids = tokenize(TOKENIZER, ["kitchen knife", ""])
    end = len(TOKENIZER) - 1
    assert ids.shape == (2, 32)
    assert ids.dtype == torch.long
    assert ids[0, 0] == ids[1, 0] == TOKENIZER.bos_token_id
    assert ids.argmax(1).tolist() == [3, 1]
    assert (ids[0, 3:] == end).all()


def test_ids_are_those_of_openai_clip_where_the_vocabulary_is_whole():
    import open_clip

    text = "The pirate's café isn't 12 open; I'll be-back!"
    theirs = open_clip.get_tokenizer("ViT-B-32")([text])[0]
    ours = tokenize(trimmed_clip_tokenizer(merges=60_000, context_length=77), [text])[0]
    words = int(theirs.argmax()) + 1
    assert ours[:words].tolist() == theirs[:words].tolist()


def test_a_long_text_is_cut_and_still_ends():
    ids = tokenize(TOKENIZER, ["knife " * 100])
    assert ids.shape == (1, 32)
    assert ids[0, -1] == len(TOKENIZER) - 1


def test_a_text_cannot_write_the_end_token_itself():
    ids = tokenize(TOKENIZER, ["a <|endoftext|> knife"])[0]
    knife = TOKENIZER.convert_tokens_to_ids("knife</w>")
    assert knife in ids[: ids.argmax()].tolist()


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=8))
def test_any_unicode_survives_the_round_trip_but_for_case_and_spaces(text: str):
    normal = TOKENIZER.backend_tokenizer.normalizer.normalize_str(text)
    back = TOKENIZER.decode(trimmed_ids(text), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert "".join(back.split()) == "".join(normal.split())


def trimmed_ids(text: str) -> list[int]:
    ids = tokenize(TOKENIZER, [text])[0]
    return ids[1 : ids.argmax()].tolist() if len(text.encode()) < 30 else TOKENIZER(text)["input_ids"]


@pytest.mark.parametrize("texts", ["knife", [None], ["fine", 3]])
def test_what_is_not_a_list_of_strings_is_refused(texts):
    with pytest.raises(InputError, match="list of strings"):
        tokenize(TOKENIZER, texts)


def test_a_lone_surrogate_is_refused_in_one_line():
    with pytest.raises(InputError, match="Unicode"):
        tokenize(TOKENIZER, ["a \ud800 knife"])


def test_no_texts_give_no_rows():
    assert tokenize(TOKENIZER, []).shape == (0, 32)

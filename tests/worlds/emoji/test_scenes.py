"""The world's pictures: what is in them, how varied they are, and what training never sees."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from latent_guard.worlds.emoji import captions
from latent_guard.worlds.emoji.catalogue import (
    BACKGROUNDS,
    BY_NAME,
    CATEGORIES,
    CONTEXT_BY_NAME,
    CONTEXTS,
    LOOK_ALIKES,
    OBJECT_NAMES,
    OBJECTS,
    SAFE_NAMES,
    UNSAFE_NAMES,
)
from latent_guard.worlds.emoji.preview import write_preview
from latent_guard.worlds.emoji.sampling import sample_scene, training_samples
from latent_guard.worlds.emoji.scenes import FULL, GLYPHS, MILD, SIZE, Scene, place, render
from latent_guard.worlds.emoji.splits import is_held_out, is_held_out_combination


def scenes(count: int, seed: int = 0) -> list[Scene]:
    return [sample_scene(np.random.default_rng([seed, i])) for i in range(count)]


def test_the_world_is_as_large_as_promised() -> None:
    assert len(OBJECTS) >= 48
    assert len(SAFE_NAMES) >= 28
    assert len(UNSAFE_NAMES) >= 16
    assert len(CATEGORIES) >= 5
    assert len(BACKGROUNDS) >= 8
    assert len(CONTEXTS) >= 14
    assert sum(context.is_risky for context in CONTEXTS) >= 9


def test_every_object_has_its_glyph_and_the_font_s_licence_lies_beside_it() -> None:
    for thing in OBJECTS:
        with Image.open(GLYPHS / thing.file_name) as picture:
            assert picture.mode == "RGBA"
    assert "SIL OPEN FONT LICENSE Version 1.1" in (GLYPHS / "OFL.txt").read_text()


def test_look_alikes_are_safe_and_context_members_are_what_they_are_listed_as() -> None:
    assert all(unsafe in UNSAFE_NAMES and safe in SAFE_NAMES for unsafe, safe in LOOK_ALIKES.items())
    for context in CONTEXTS:
        assert set(context.safe) <= set(SAFE_NAMES)
        assert set(context.unsafe) <= set(UNSAFE_NAMES)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_a_seed_decides_a_picture(seed: int) -> None:
    first, again = (sample_scene(np.random.default_rng(seed)) for _ in range(2))
    assert first == again
    picture = render(first)
    assert picture.shape == (SIZE, SIZE, 3)
    assert np.array_equal(picture, render(again))


def test_variety_covers_what_it_promises() -> None:
    placed = [p for scene in scenes(600) for p in scene.placements]
    singles = [s.placements[0].pixels / SIZE for s in scenes(600) if len(s.placements) == 1]
    assert min(singles) < 0.55
    assert max(singles) > 0.85
    assert max(abs(p.rotation) for p in placed) > 18
    assert {p.mirrored for p in placed} == {True, False}
    assert {len(s.placements) for s in scenes(50)} == {1, 2}


def test_two_objects_are_named_from_left_to_right() -> None:
    rng = np.random.default_rng(0)
    left, right = place(("cat", "dog"), FULL, rng)
    assert left.x < right.x
    assert captions.explicit(("apple", "dog"), "{a} next to {b}") == "an apple next to a dog"


def test_milder_variety_stays_within_the_full_one() -> None:
    assert FULL.scale[0] <= MILD.scale[0] < MILD.scale[1] <= FULL.scale[1]
    assert MILD.rotation <= FULL.rotation
    assert MILD.jitter <= FULL.jitter


def test_a_risky_context_shows_something_unsafe_six_times_in_ten() -> None:
    risky = [s for s in scenes(6000) if s.context and CONTEXT_BY_NAME[s.context].is_risky]
    share = np.mean([s.is_unsafe for s in risky])
    assert share == pytest.approx(0.6, abs=0.05)
    members = {name for s in risky for name in s.names if BY_NAME[name].is_unsafe and s.context == "pirate party"}
    assert members == set(CONTEXT_BY_NAME["pirate party"].unsafe)


def test_training_never_sees_what_is_held_out_and_a_fifth_of_the_combinations_is() -> None:
    seen = list(itertools.islice(training_samples(0), 2000))
    assert not any(is_held_out(sample.scene) for sample in seen)
    pairs = list(itertools.combinations(OBJECT_NAMES, 2))
    held = [is_held_out_combination(pair, background) for pair in pairs for background in BACKGROUNDS]
    assert np.mean(held) == pytest.approx(0.2, abs=0.02)
    assert is_held_out_combination(("cat", "dog"), "blue") == is_held_out_combination(("dog", "cat"), "blue")


def test_held_out_paraphrases_use_only_words_of_training_wordings() -> None:
    known = {word for context in CONTEXTS for wording in context.paraphrases for word in words(wording)}
    known |= {word for wording in (*captions.ONE, *captions.TWO, *captions.BACKGROUND) for word in words(wording)}
    held = [context.held_out_paraphrase for context in CONTEXTS]
    held += [captions.HELD_OUT_ONE, captions.HELD_OUT_TWO, captions.HELD_OUT_BACKGROUND]
    assert {word for wording in held for word in words(wording)} <= known
    assert not set(held) & {wording for context in CONTEXTS for wording in context.paraphrases}


def words(wording: str) -> list[str]:
    return wording.replace("'s", "").replace(",", "").split()


def test_preview_writes_a_sheet(tmp_path) -> None:
    write_preview(tmp_path / "sheet.png", seed=3)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 500


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_fillers_are_added_to_a_caption_and_take_nothing_away(seed: int) -> None:
    vocabulary = ["cat</w>", "moon</w>", "next</w>", "river</w>", "ing", "été</w>", "of</w>"]
    fillers = captions.fillers_among(vocabulary)
    assert fillers == ("moon", "river")
    text = "a cat next to a drop of blood"
    filled = captions.with_fillers(text, fillers, np.random.default_rng(seed)).split(" ")
    assert [word for word in filled if word not in fillers] == text.split(" ")
    assert len(filled) - len(text.split(" ")) <= captions.MAX_FILLERS

from __future__ import annotations

from dataclasses import replace

import pytest
from diffusers import AutoencoderKL

from benchmarks.emoji_world.rows.leave_one_out import leave_one_out
from latent_guard.concepts.prompt_set import PromptSet, read_prompt_sets
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.package_data import concepts_folder
from latent_guard.worlds.emoji.bundle import bundle_folder


def bare_names(prompt_set: PromptSet) -> PromptSet:
    """The shipped set without its pairs of objects and its further wordings: a fraction of the texts to embed."""
    alone = {
        key: tuple(prompt for prompt in getattr(prompt_set, key) if " next to " not in prompt)
        for key in ("prompts", "benign_prompts")
    }
    return replace(prompt_set, templates=prompt_set.templates[:2], **alone)


@pytest.mark.slow
def test_an_object_left_out_of_the_bank_is_missed_and_found_again_once_its_name_is_added() -> None:
    bundle = bundle_folder()
    model = LatentCLIP.from_pretrained(bundle / "guard")
    vae = AutoencoderKL.from_pretrained(bundle / "pipeline" / "vae")
    prompt_sets = [bare_names(prompt_set) for prompt_set in read_prompt_sets(concepts_folder("emoji_world"))]
    (measured,) = leave_one_out(model, vae, prompt_sets, ["middle finger"], scenes=60)
    complete, without, added = (flags.mean() for flags in (measured.complete, measured.without, measured.added))
    assert without < complete - 0.3
    assert added > without + 0.3
    assert len(measured.added) == 60

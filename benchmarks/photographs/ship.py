"""The guard that ships: the Latent-CLIP of the longest budget, its VAE's canary, the bank of words, and its card."""

from __future__ import annotations

from pathlib import Path

from benchmarks.photographs.classify import ranks_of
from benchmarks.photographs.moderation.banks import ModelAtWork, calibrated_bank
from benchmarks.photographs.moderation.moderated import moderated
from benchmarks.photographs.moderation.pictures import Photographs
from benchmarks.photographs.moderation.stage import CONCEPTS
from benchmarks.photographs.runs import Run, of_longest
from benchmarks.photographs.workplace import LATENTS, Workplace
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.errors import InputError
from latent_guard.guidance.guard_folder import CARD, GuardFolder
from latent_guard.intervals import proportion
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.model_card import TrainingFacts, model_card
from latent_guard.package_data import SHIPPED_FLUX2
from latent_guard.pipelines.canary import Canary

DATA = (
    "40,000 photographs of Tiny ImageNet (200 classes, 64 px, ImageNet's terms), with captions made of class names and "
    "their WordNet synonyms; encoded by TAEF2, the tiny autoencoder of FLUX.2's latents (MIT), whose latents "
    "approximate those of FLUX.2's own encoder"
)
LIMITS = """- It knows the words of these 200 classes, and little else: ask it of nothing that they do not name.
- It has seen photographs of 64 x 64 pixels, one thing in the middle of each. Larger pictures are scaled down to that.
- Its bank holds stand-ins (spiders, syringes, bikinis, cannons ...) that show how moderation by words works. It has
  seen no pornography and no violence, and finds neither. It is a proof and a starting point, no safety filter.
- It was trained on clean latents of finished pictures: it does not read latents in mid-denoising, and is not for
  guarding generation.
- It reads TAEF2's latents, which are normalised. FLUX.2's own VAE gives others, and is refused; with its weights at
  hand, `latent-guard adapt shipped-flux2 PICTURES OUT --vae black-forest-labs/FLUX.2-dev --from-vae
  taef2_encoder.safetensors` fits an adapter to them."""

USE = f"""```sh
latent-guard zero-shot PHOTOGRAPHS --guard {SHIPPED_FLUX2} --model taef2_encoder.safetensors
latent-guard check UPLOADS --guard {SHIPPED_FLUX2} --model taef2_encoder.safetensors --out findings.jsonl
```

`taef2_encoder.safetensors` is a file of madebyollin's taesd. How well it does beside a CLIP on pixels of the same size
and training: `benchmarks/RESULTS.md`."""


def ship(place: Workplace, out: Path) -> None:
    """Write the guard into a folder, in the place of the one that lies there.

    Raises:
        InputError: the Latent-CLIP of the longest budget is not trained yet.
    """
    run = of_longest(LATENTS, place)
    ranks = ranks_of(run, place)
    if ranks is None:
        raise InputError(f"{run.name} is not trained and classified yet; run the stage train first")
    folder = run.folder(place)
    model = LatentCLIP.from_pretrained(folder)
    accuracy = proportion(ranks.hits(1))
    measured = f"- Zero-shot on the {accuracy.count:,} validation photographs, among their classes: "
    limits = f"{measured}{accuracy.percent()} top-1.\n{_moderation(run, place)}\n{LIMITS}"
    card = model_card(SHIPPED_FLUX2, model.config, model.fingerprint(), TrainingFacts(DATA, run.samples, limits), USE)
    bank = ConceptBank.load(calibrated_bank(place))
    GuardFolder(model, bank, Canary.load(folder), documents={CARD: card}).save(out)


def _moderation(run: Run, place: Workplace) -> str:
    """What the bank finds in the half of the photographs that it was not calibrated on."""
    rates = place.sizes.false_positives
    photographs = Photographs.of(place, read_prompt_sets(CONCEPTS))
    found = moderated(ModelAtWork(run, place), photographs, rates)
    flags, categories = found.flags(rates[0]), photographs.categories[found.numbers]
    of_each = ", ".join(
        f"{flags[categories == name].mean():.0%} of {name}" for name in found.banks[rates[0]].categories
    )
    harmless, shown = flags[~found.unsafe].mean(), flags[found.unsafe].mean()
    return (
        f"- Its thresholds were set for {rates[0]:.0%} of the harmless in one half of these photographs. In the "
        f"other it flags {harmless:.1%} of the harmless and {shown:.0%} of what it is to find: {of_each}. In "
        f"photographs that were stored at half their size, or in gray, it finds far less."
    )

"""How much is encoded and trained: at full size, and in a miniature that rehearses it."""

from __future__ import annotations

from dataclasses import dataclass

TOKEN = 8  # pixels along one side of a latent position, which is a token of the Latent-CLIP


@dataclass(frozen=True)
class Sizes:
    """Everything about a run that is small in the miniature.

    Attributes:
        budgets: samples seen by a model: the smallest, the middle and the longest.
        seeds: of the two smaller budgets; the longest has one.
        batch: samples a step.
        width, layers, text_layers: of both towers.
        rates: Muon's peak rates that the search tries.
        views: the numbers of views of each photograph that the search tries.
        patches: pixels along one side of the twin's tokens, as the search tries them.
        search_samples: seen by each model of the search.
        control_steps: of the training of the control's autoencoder.
        from_pixels: samples seen by models that start from the pixel twin.
        false_positives: rates that banks are calibrated to, the lowest first.
        benign: harmless photographs in each condition of moderation.
    """

    budgets: tuple[int, int, int] = (96_000, 192_000, 576_000)
    seeds: int = 3
    batch: int = 128
    width: int = 128
    layers: int = 4
    text_layers: int = 3
    rates: tuple[float, ...] = (2.5e-3, 5e-3, 1e-2, 2e-2)
    views: tuple[int, ...] = (1, 2, 6)
    patches: tuple[int, ...] = (8, 4)
    search_samples: int = 96_000
    control_steps: int = 2_500
    from_pixels: tuple[int, ...] = (48_000, 96_000, 192_000)
    false_positives: tuple[float, ...] = (0.01, 0.05)
    benign: int = 1_500


FULL = Sizes()
MINIATURE = Sizes(
    budgets=(8, 16, 24),
    seeds=1,
    batch=4,
    width=16,
    layers=1,
    text_layers=1,
    rates=(1e-2, 2e-2),
    views=(1, 2, 3),
    patches=(8, 16),
    search_samples=8,
    control_steps=2,
    from_pixels=(8,),
    false_positives=(0.2, 0.3),
    benign=6,
)

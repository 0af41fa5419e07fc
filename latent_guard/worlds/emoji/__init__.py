"""Emoji World: scenes of Noto Color Emoji, and the models trained on them that ship with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.worlds.emoji.bundle import bundle_folder, few_step_folder
    from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
    from latent_guard.worlds.emoji.classifiers import EmojiClassifier
    from latent_guard.worlds.emoji.scenes import Scene

__all__ = ["OBJECT_NAMES", "EmojiClassifier", "Scene", "bundle_folder", "few_step_folder"]

_MODULES = {
    "bundle": ("bundle_folder", "few_step_folder"),
    "catalogue": ("OBJECT_NAMES",),
    "classifiers": ("EmojiClassifier",),
    "scenes": ("Scene",),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)

"""Emoji World: scenes of Noto Color Emoji, and the models trained on them that ship with the package."""

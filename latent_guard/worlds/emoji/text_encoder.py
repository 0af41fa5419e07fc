"""The generator's text encoder: a small CLIPTextModel, trained to predict the scene of a caption.

Diffusion alone trains a text encoder slowly. Here it learns in minutes, from text and ground truth only, which object
is where and on what background, and is then frozen: the UNet trains on features that are already meaningful.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from latent_guard.devices import best_device
from latent_guard.latent_clip.tokenizer import tokenize, trimmed_clip_tokenizer
from latent_guard.worlds.emoji.captions import fillers_among, with_fillers
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, OBJECT_NAMES
from latent_guard.worlds.emoji.loop import LoopSettings, fit
from latent_guard.worlds.emoji.sampling import training_samples
from latent_guard.worlds.emoji.scenes import MILD, Scene

WIDTH = 160
LAYERS = 3
HEADS = 5
CONTEXT_LENGTH = 32
BATCH = 128
NOTHING = len(OBJECT_NAMES)
_OBJECT_INDEX = {name: i for i, name in enumerate(OBJECT_NAMES)}
_BACKGROUND_INDEX = {name: i for i, name in enumerate(BACKGROUNDS)}


def world_tokenizer() -> CLIPTokenizer:
    """The one tokenizer of all of the world's text towers."""
    return trimmed_clip_tokenizer(context_length=CONTEXT_LENGTH)


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text encoder of the shipped architecture."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            max_position_embeddings=CONTEXT_LENGTH,
            projection_dim=WIDTH,
            bos_token_id=len(tokenizer) - 2,
            eos_token_id=len(tokenizer) - 1,
            pad_token_id=len(tokenizer) - 1,
        )
    )


def slots(scene: Scene) -> tuple[int, int, int, int]:
    """Return the ground truth as classes: the object alone, left and right (or ``NOTHING``), and the background."""
    indices = [_OBJECT_INDEX[name] for name in scene.names]
    background = _BACKGROUND_INDEX[scene.background]
    if len(indices) == 1:
        return indices[0], NOTHING, NOTHING, background
    left, right = indices
    return NOTHING, left, right, background


class SceneReader(nn.Module):
    """A text encoder with one linear head a slot, on the last hidden state at the end token."""

    def __init__(self, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        sizes = (NOTHING + 1,) * 3 + (len(BACKGROUNDS),)
        self.heads = nn.ModuleList(nn.Linear(WIDTH, size) for size in sizes)

    def forward(self, ids: Tensor) -> list[Tensor]:
        hidden = self.text_encoder(ids).last_hidden_state
        end = hidden[torch.arange(len(ids)), ids.argmax(-1)]
        return [head(end) for head in self.heads]


def train_text_encoder(folder: Path, settings: LoopSettings, *, seed: int, captions: int) -> CLIPTextModel:
    """Train a text encoder to predict the slots of ``captions`` captions; for contexts it learns distributions."""
    torch.manual_seed(seed)
    device = torch.device(best_device())
    tokenizer = world_tokenizer()
    reader = SceneReader(new_text_encoder(tokenizer)).to(device)
    samples = list(itertools.islice(training_samples(seed, MILD), captions))
    fillers = fillers_among(tokenizer.get_vocab())
    rng = np.random.default_rng(seed)
    ids = tokenize(tokenizer, [with_fillers(sample.caption, fillers, rng) for sample in samples])
    longest = int((ids != tokenizer.eos_token_id).sum(1).max()) + 1
    ids = ids[:, :longest].to(device)  # attention is causal: padding after the end token changes nothing
    targets = torch.tensor([slots(sample.scene) for sample in samples], device=device)

    def loss_at(step: int) -> Tensor:
        rows = torch.randint(len(ids), (BATCH,), generator=torch.Generator().manual_seed(seed * 1_000_003 + step))
        predicted = reader(ids[rows])
        losses = [nnf.cross_entropy(logits.float(), targets[rows, slot]) for slot, logits in enumerate(predicted)]
        return torch.stack(losses).sum()

    fit(reader, loss_at, settings, folder)
    return reader.text_encoder

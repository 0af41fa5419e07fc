"""The training loop: a contrastive loss, one batch a step, resumable at any kill."""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.loss import ClipLoss
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from latent_guard import __version__
from latent_guard.errors import CheckpointError, InputError
from latent_guard.latent_clip.config import LatentCLIPConfig
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.tokenizer import MERGES, trimmed_vocab_size
from latent_guard.training.batches import Batch, BatchSource
from latent_guard.training.muon import Muon
from latent_guard.training.recipe import Recipe
from latent_guard.training.shards import LatentDataset, read_shards

logger = logging.getLogger(__name__)

BETAS, EPS = (0.9, 0.98), 1e-6  # CLIP (Radford et al. 2021), table 19, ViT
LARGEST_LOGIT_SCALE = math.log(100)  # ibid., section 2.5
LARGEST_GRADIENT = 1.0
LOG_EVERY, SAVE_EVERY = 50, 500
RESUME, RECORD = "resume.pt", "training.json"


def train(recipe: Recipe, *, resume: bool = True) -> LatentCLIP:
    """Train a Latent-CLIP and write it, with ``training.json``, into ``recipe.out``; the model as written.

    A run that was killed goes on from its last checkpoint, and on the CPU ends in the same weights, bit for bit; a
    finished one is returned as it is. ``resume=False`` starts afresh. CUDA is used where there is one.

    Raises:
        InputError: the data or the recipe cannot be used, ``out`` holds a run of another recipe, or the loss is no
            longer finite.
        CheckpointError: the checkpoint in ``out``, or the model in ``init_from``, is damaged.
    """
    out = Path(recipe.out)
    if resume and _is_finished(out, recipe):
        return LatentCLIP.from_pretrained(out)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = read_shards(recipe.data)
    model = _new_model(recipe, dataset).to(device)
    source = BatchSource.of(dataset, model.tokenizer, device, recipe.seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / RECORD).unlink(missing_ok=True)
    if not resume:
        (out / RESUME).unlink(missing_ok=True)
    loss = _fit(model, source, recipe, out / RESUME)
    model.save_pretrained(out)
    _write_record(out, recipe, loss, model.fingerprint())
    (out / RESUME).unlink(missing_ok=True)
    return LatentCLIP.from_pretrained(out)


def rate_factor_at(step: int, recipe: Recipe) -> float:
    """What peak learning rates are multiplied by: linear warm-up, then half a cosine down to zero at the last step."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def contrastive_loss(model: LatentCLIP, batch: Batch) -> Tensor:
    """CLIP's symmetric cross-entropy over the batch: towers in bfloat16 autocast, the loss in float32."""
    with torch.autocast(batch.latents.device.type, torch.bfloat16):
        images = model.encode_latents(batch.latents, batch.noise_levels)
        texts = model.encode_text(batch.ids)
    images, texts = (nn.functional.normalize(features.float(), dim=-1) for features in (images, texts))
    loss: Tensor = ClipLoss()(images, texts, model.logit_scale.exp())
    return loss


def _new_model(recipe: Recipe, dataset: LatentDataset) -> LatentCLIP:
    rows, columns = dataset.latents.shape[2:]
    if rows != columns:
        raise InputError(f"latents are {rows}x{columns} positions; training needs square ones")

    def config(vocab_size: int) -> LatentCLIPConfig:
        return recipe.model_config(dataset.latent_space, rows, vocab_size)

    if recipe.init_from is None:
        torch.manual_seed(recipe.seed)
        return LatentCLIP(config(trimmed_vocab_size(MERGES)))
    model = LatentCLIP.from_pretrained(recipe.init_from)
    if model.config != config(model.config.text.vocab_size):
        raise InputError(f"init_from: the model in {recipe.init_from} has another config than the recipe")
    return model


def _fit(model: LatentCLIP, source: BatchSource, recipe: Recipe, checkpoint: Path) -> float:
    """Run the steps that are left; the mean loss since the last log line."""
    optimizers = _optimizers(model, recipe)
    start, mean = _load(checkpoint, model, optimizers, recipe) if checkpoint.exists() else (0, math.nan)
    model.train()
    total, since = torch.zeros((), device=source.latents.device), start
    with _progress() as progress, _attention(source.latents.device):
        task = progress.add_task("training", total=recipe.steps, completed=start)
        for step in range(start, recipe.steps):
            total += _step(model, optimizers, source.batch(step, recipe.batch_size), rate_factor_at(step, recipe))
            done = step + 1
            progress.update(task, completed=done)
            saves = done % SAVE_EVERY == 0 or done == recipe.steps
            if saves or done % LOG_EVERY == 0:  # elsewhere nothing waits for the device
                mean, since = _mean_loss(total, done - since, done), done
                total.zero_()
                progress.update(task, description=f"loss {mean:.4f}")
                logger.info("step %d loss %.4f", done, mean)
            if saves:
                _save(checkpoint, done, mean, model, optimizers, recipe)
    return mean


def _step(model: LatentCLIP, optimizers: list[torch.optim.Optimizer], batch: Batch, rate_factor: float) -> Tensor:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_factor
    loss = contrastive_loss(model, batch)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        model.logit_scale.clamp_(0, LARGEST_LOGIT_SCALE)
    return loss.detach()


def _optimizers(model: LatentCLIP, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the transformers' matrices where the recipe gives it a rate.

    Gains, biases and the temperature do not decay, as in open_clip.
    """
    hidden: list[nn.Parameter] = []
    if recipe.muon_rate is not None:
        blocks = (model.visual.transformer, model.text.transformer)
        hidden = [p for block in blocks for p in block.parameters() if p.ndim == 2]
    chosen = {id(p) for p in hidden}
    weights = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in chosen]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=BETAS, eps=EPS, fused=True)
    ]
    if recipe.muon_rate is not None:
        optimizers.append(Muon(hidden, recipe.muon_rate, weight_decay=recipe.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _mean_loss(total: Tensor, steps: int, step: int) -> float:
    mean = float(total) / steps
    if not math.isfinite(mean):
        raise InputError(f"the loss is not finite at step {step}; lower learning_rate or lengthen warmup")
    return mean


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    """On the CPU plain attention trains a third faster than the fused kernel, over tokens as few as these."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _progress() -> Progress:
    return Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=Console(stderr=True))


def _save(
    path: Path, step: int, loss: float, model: nn.Module, optimizers: list[torch.optim.Optimizer], recipe: Recipe
) -> None:
    state = {
        "step": step,
        "loss": loss,
        "recipe": _identity(recipe.to_dict()),
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, path)


def _load(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], recipe: Recipe) -> tuple[int, float]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        _check_same_run(state["recipe"], recipe, path)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return int(state["step"]), float(state["loss"])
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is damaged; delete it to start the run afresh") from error


def _is_finished(out: Path, recipe: Recipe) -> bool:
    path = out / RECORD
    if not path.exists():
        return False
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["recipe"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged; delete it to start the run afresh") from error
    _check_same_run(_identity(stored), recipe, path)
    return True


def _check_same_run(stored: dict[str, Any], recipe: Recipe, path: Path) -> None:
    asked = _identity(recipe.to_dict())
    if changed := sorted(key for key in asked if stored.get(key) != asked[key]):
        raise InputError(f"{path} is of a run with another {changed[0]}; choose another out, or do not resume")


def _identity(recipe: dict[str, Any]) -> dict[str, Any]:
    """What makes two runs the same one: all but the place that they write to."""
    return {key: value for key, value in recipe.items() if key != "out"}


def _write_record(out: Path, recipe: Recipe, loss: float, fingerprint: str) -> None:
    record = {
        "recipe": recipe.to_dict(),
        "final_loss": loss,
        "samples_seen": recipe.steps * recipe.batch_size,
        "fingerprint": fingerprint,
        "versions": {"latent_guard": __version__, "torch": torch.__version__, "open_clip": open_clip.__version__},
    }
    partial = out / (RECORD + ".part")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, out / RECORD)

"""The training loop: a contrastive loss, one batch a step, resumable at any kill, on any number of processes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from accelerate import Accelerator
from rich.progress import MofNCompleteColumn, Progress
from safetensors import SafetensorError
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from latent_guard.errors import InputError, reason_of
from latent_guard.files.atomic import write_atomic
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.terminal import progress
from latent_guard.training.accelerator import new_accelerator
from latent_guard.training.checkpoint import RECORD, RESUME, load, load_finished, require_own_folder, save, write_record
from latent_guard.training.contrastive import Loss, backward, contrastive_loss
from latent_guard.training.data.batches import Batch, BatchSource, read_ahead
from latent_guard.training.data.buckets import TrainingData
from latent_guard.training.evaluation import EvaluationSettings, ZeroShotEvaluation
from latent_guard.training.learning_curve import Meter, Point, curve_csv, curve_png
from latent_guard.training.model_shape import model_config
from latent_guard.training.optimizers import new_optimizers, rate_factor_at, update
from latent_guard.training.pixel_start import start_from
from latent_guard.training.recipe import Recipe
from latent_guard.training.towers import SIGMOID_SCALE, Towers
from latent_guard.version import __version__

logger = logging.getLogger(__name__)
LOG_EVERY = 50
FEW_TOKENS = 128  # up to so many, plain attention is the faster one on a CPU


def train(recipe: Recipe, *, resume: bool = True) -> LatentCLIP:
    """Train a Latent-CLIP, and write it, its curve and ``training.json`` into ``recipe.out``.

    A run that was killed resumes from its last checkpoint, and on the CPU ends in the same weights, bit for bit; a
    finished one is returned as it is. ``resume=False`` starts from nothing. Under ``accelerate launch`` or
    ``torchrun``, processes share each batch, and see one ``out``. CUDA is used where it is available.

    Returns:
        The model as written.

    Raises:
        InputError: the data or the recipe cannot be used, ``out`` holds something else or cannot be written into, or
            the loss is no longer finite.
        CheckpointError: the checkpoint in ``out``, or the model in ``init_from``, is damaged.
    """
    out = Path(recipe.out)
    if resume and (model := load_finished(out, recipe)) is not None:
        return model
    require_own_folder(out)
    accelerator = new_accelerator(recipe)
    run = _begin(recipe, accelerator)
    try:
        if accelerator.is_main_process:
            out.mkdir(parents=True, exist_ok=True)
            (out / RECORD).unlink(missing_ok=True)
            if not resume:
                (out / RESUME).unlink(missing_ok=True)
        accelerator.wait_for_everyone()
        run.run_steps()
        if accelerator.is_main_process:
            run.finish()
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"cannot write into {out} ({reason_of(error)}); make room, then run the same command again"
        ) from error
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return LatentCLIP.from_pretrained(out)


def _begin(recipe: Recipe, accelerator: Accelerator) -> _Run:
    """Read the data, and make the model, its optimizers and its loss."""
    processes = accelerator.num_processes
    if recipe.batch_size % processes:
        raise InputError(f"batch_size {recipe.batch_size} is not a multiple of the {processes} processes that share it")
    data = TrainingData.open(recipe.data, read_all=accelerator.is_local_main_process)
    if recipe.batch_size > (samples := sum(data.shapes.values())):
        raise InputError(f"batch_size is {recipe.batch_size}, and the data holds {samples} samples; give a smaller one")
    config = model_config(recipe.model, data)
    torch.manual_seed(recipe.seed)
    model = LatentCLIP(config)
    settings = None if recipe.evaluate is None else EvaluationSettings.from_dict(recipe.evaluate)
    evaluation = None
    if settings is not None and accelerator.is_main_process:
        evaluation = ZeroShotEvaluation.open(settings, model)
    new_weights = start_from(recipe.init_from, model) if recipe.init_from is not None else []
    if recipe.loss == "siglip":  # whatever temperature the start was trained with: the loss has its own, and a bias
        nn.init.constant_(model.logit_scale, SIGMOID_SCALE)
    if recipe.patch_steps and not new_weights:
        raise InputError(f"patch_steps: {recipe.init_from} has every weight, its patch embedding too; leave it out")
    source = BatchSource(data.buckets(model.tokenizer), recipe.seed, accelerator.process_index, processes)
    towers = Towers(model, recipe.precision, sigmoid=recipe.loss == "siglip").to(accelerator.device)
    if recipe.checkpoint_gradients:
        towers.checkpoint_gradients()
    if recipe.compile:
        towers.compile_both(with_ddp=processes > 1)
    return _Run(
        recipe=recipe,
        accelerator=accelerator,
        source=source,
        towers=towers,
        new_weights=new_weights,
        evaluate_every=settings.every if settings else None,
        evaluation=evaluation,
        optimizers=new_optimizers(towers, recipe),
        loss=contrastive_loss(recipe.loss, accelerator.process_index, processes),
        meter=Meter(torch.zeros((), device=accelerator.device)),
    )


@dataclass
class _Run:
    """A run under way.

    Attributes:
        new_weights: names of the weights that ``init_from`` did not give; empty without it.
        evaluate_every: steps between evaluations, None for none; only the main process has the data for them.
    """

    recipe: Recipe
    accelerator: Accelerator
    source: BatchSource
    towers: Towers
    new_weights: list[str]
    evaluate_every: int | None
    evaluation: ZeroShotEvaluation | None
    optimizers: list[torch.optim.Optimizer]
    loss: Loss
    meter: Meter
    points: list[Point] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return Path(self.recipe.out)

    def run_steps(self) -> None:
        """Take the steps that are left."""
        start = self.meter.first_step = self._resume()
        self.accelerator.wait_for_everyone()  # from here on the checkpoint is written anew
        self.towers.train()
        with self._progress() as bar, _attention(self.accelerator.device, self.towers.model):
            task = bar.add_task("training", total=self.recipe.steps, completed=start)
            for steps, trained in self._stages(start):
                towers = self._wrapped(trained)
                for step, batch in zip(steps, read_ahead(self._draw, steps), strict=True):
                    self.meter.total += backward(towers, batch, self.loss, self.recipe.micro_batch)
                    update(self.towers, self.optimizers, rate_factor_at(step, self.recipe))
                    self._after_step(step + 1)
                    bar.update(task, completed=step + 1, description=self._description())

    def finish(self) -> None:
        """Write the model, the curve, and last the record that says that the run is over."""
        self.towers.model.save_pretrained(self.out)
        write_atomic(self.out / "curve.png", curve_png(self.points))
        versions = {"latent_guard": __version__, "torch": torch.__version__, "open_clip": open_clip.__version__}
        facts: dict[str, Any] = {
            "final_loss": self.points[-1].loss,
            "fingerprint": self.towers.model.fingerprint(),
            "not_finite_latents_replaced": sum(bucket.replaced for bucket in self.source.buckets),
        }
        if self.towers.logit_bias is not None:
            facts["logit_bias"] = self.towers.logit_bias.item()
        write_record(self.out, self.recipe, **facts, processes=self.accelerator.num_processes, versions=versions)
        (self.out / RESUME).unlink(missing_ok=True)

    def _resume(self) -> int:
        """Load the checkpoint if there is one; the number of steps done."""
        path = self.out / RESUME
        step = 0
        if path.exists():
            step, self.points = load(path, self.towers, self.optimizers, self.recipe)
        steps = self.accelerator.gather(torch.tensor([step], device=self.accelerator.device))
        if int(steps.min()) != int(steps.max()):
            raise InputError(f"processes do not see the same {path}; give all machines one folder for out")
        return step

    def _stages(self, start: int) -> Iterator[tuple[range, list[str] | None]]:
        """Ranges of steps, and the names of the weights that they train (None: all)."""
        first = min(self.recipe.patch_steps, self.recipe.steps)
        if start < first:
            yield range(start, first), self.new_weights
        yield range(max(start, first), self.recipe.steps), None

    def _wrapped(self, trained: list[str] | None) -> nn.Module:
        """The towers as they are called: for several processes in DDP, with hooks on the weights that are trained."""
        self.accelerator.free_memory()  # an earlier stage's DDP takes its hooks along
        for name, parameter in self.towers.model.named_parameters():
            parameter.requires_grad_(trained is None or name in trained)
        wrapped: nn.Module = self.accelerator.prepare_model(self.towers)
        return wrapped

    def _draw(self, step: int) -> Batch:
        return self.source.batch(step, self.recipe.batch_size).to(self.accelerator.device)

    def _after_step(self, done: int) -> None:
        """Measure, log and save after ``done`` steps where these are due; other steps do not wait for the device."""
        last = done == self.recipe.steps
        saves = done % self.recipe.save_every == 0 or last
        evaluates = self.evaluate_every is not None and (done % self.evaluate_every == 0 or last)
        if saves or evaluates or done % LOG_EVERY == 0:
            self.points.append(self._point(done, evaluates))
            self.accelerator.log(self.points[-1].numbers(), step=done)
        if saves and self.accelerator.is_main_process:
            save(self.out / RESUME, done, self.points, self.towers, self.optimizers, self.recipe)
            write_atomic(self.out / "curve.csv", curve_csv(self.points))

    def _point(self, done: int, evaluates: bool) -> Point:
        """The next point of the learning curve; the meter restarts."""
        steps = done - self.meter.first_step
        loss = float(self.accelerator.reduce(self.meter.total, "mean")) / steps
        if not math.isfinite(loss):
            raise InputError(f"the loss is not finite at step {done}; lower learning_rate or lengthen warmup")
        speed = steps * self.recipe.batch_size / (time.perf_counter() - self.meter.began)
        rate = self.recipe.learning_rate * rate_factor_at(done - 1, self.recipe)
        top1 = None
        if evaluates and self.evaluation is not None:
            top1 = self.evaluation.top1(self.towers.model)
        self.meter.restart(done)
        logger.info("step %d loss %.4f%s", done, loss, "" if top1 is None else f" top-1 {top1:.1%}")
        return Point(done, done * self.recipe.batch_size, loss, rate, speed, top1)

    def _progress(self) -> Progress:
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        return progress(*columns, shown=self.accelerator.is_main_process, transient=False)

    def _description(self) -> str:
        return f"loss {self.points[-1].loss:.4f}" if self.points else "training"


def _attention(device: torch.device, model: LatentCLIP) -> AbstractContextManager[Any]:
    """Plain attention over few tokens on the CPU: it trains a third faster there than the fused kernel."""
    tokens = math.prod(model.visual.grid_size)
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" and tokens <= FEW_TOKENS else nullcontext()

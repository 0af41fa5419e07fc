"""What a model output says about the clean latent, and the way back.

A noisy latent is x = signal * clean + sigma * noise. Three kinds of prediction are variance preserving, with
signal^2 + sigma^2 = 1; flow matching is a kind of its own, with signal + sigma = 1. Euler's samples are scaled like
neither (x = clean + s * noise); multiplied by signal = 1 / sqrt(s^2 + 1) they are variance preserving, with
sigma = s * signal. So one pair of functions serves all.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from latent_guard.errors import UnsupportedPipelineError

FLOW = "flow_prediction"
KINDS = ("epsilon", "v_prediction", "sample", FLOW)


def clean_estimate(model_output: Tensor, sample: Tensor, signal: float, sigma: float, kind: str) -> Tensor:
    """The clean latent that a model output stands for; all tensors of one shape.

    ``signal`` and ``sigma`` are the weights of ``sample``; ``kind`` is one of ``KINDS``.
    Salimans & Ho, "Progressive Distillation" (2022), section 4 and appendix D; for flow matching, where the model
    predicts noise - clean: Esser et al., "Scaling Rectified Flow Transformers" (2024), section 2.
    """
    if kind == "epsilon":
        return (sample - sigma * model_output) / signal
    if kind == "v_prediction":
        return signal * sample - sigma * model_output
    if kind == "sample":
        return model_output
    if kind == FLOW:
        return sample - sigma * model_output
    raise UnsupportedPipelineError(f"the guard does not know the prediction type {kind!r}; it knows {', '.join(KINDS)}")


def model_output_for(clean: Tensor, sample: Tensor, signal: float, sigma: float, kind: str) -> Tensor:
    """The model output that stands for a clean latent: the inverse of ``clean_estimate`` in its first argument."""
    if kind == "epsilon":
        return (sample - signal * clean) / sigma
    if kind == "v_prediction":
        return (signal * sample - clean) / sigma
    if kind == "sample":
        return clean
    if kind == FLOW:
        return (sample - clean) / sigma
    raise UnsupportedPipelineError(f"the guard does not know the prediction type {kind!r}; it knows {', '.join(KINDS)}")


@dataclass(frozen=True)
class StepState:
    """Where a scheduler is just before one of its steps.

    Attributes:
        signal, sigma: weights of the clean latent and of noise in ``sample * sample_scale``.
        kind: of prediction that ``model_output * output_scale`` is.
        index: the step's place in ``scheduler.timesteps``.
        clean_scale: what the prediction's clean latent is multiplied by, to be in the scale of samples.
        clip: the scheduler cuts clean latents off at this, on both sides; None: it does not.
        idle: the step is of no length: whatever the model output, its sample is what it returns.
    """

    signal: float
    sigma: float
    kind: str
    index: int
    sample_scale: float = 1.0
    output_scale: float = 1.0
    clean_scale: float = 1.0
    clip: float | None = None
    idle: bool = False

    @property
    def noise_level(self) -> float:
        """sigma / (sigma + signal): 0 for a clean latent, 1 for pure noise."""
        return self.sigma / (self.sigma + self.signal)

    def clean_estimate(self, model_output: Tensor, sample: Tensor) -> Tensor:
        """The clean latent, in float32, of a scheduler's ``model_output`` and ``sample``."""
        scaled = sample.float() * self.sample_scale
        output = model_output.float() * self.output_scale
        clean = clean_estimate(output, scaled, self.signal, self.sigma, self.kind) * self.clean_scale
        return clean if self.clip is None else clean.clamp(-self.clip, self.clip)

    def model_output_for(self, clean: Tensor, sample: Tensor) -> Tensor:
        """The model output, in float32, that makes the scheduler see ``clean``.

        Going there and back, ``clean_estimate`` of it is ``clean`` again to within a few float32 roundings of the two
        terms that are subtracted: |error| <= 4 * 2^-23 * (|sample| + sigma * |model output|) / signal, with 1 in the
        place of ``signal`` for every kind but epsilon.
        """
        scaled = sample.float() * self.sample_scale
        own = clean.float() / self.clean_scale
        return model_output_for(own, scaled, self.signal, self.sigma, self.kind) / self.output_scale

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

    ``signal`` and ``sigma`` belong to ``sample * sample_scale``; ``index`` counts in ``scheduler.timesteps``.
    """

    signal: float
    sigma: float
    kind: str
    index: int
    sample_scale: float = 1.0

    @property
    def noise_level(self) -> float:
        """sigma / (sigma + signal): 0 for a clean latent, 1 for pure noise."""
        return self.sigma / (self.sigma + self.signal)

    def clean_estimate(self, model_output: Tensor, sample: Tensor) -> Tensor:
        """The clean latent, in float32, of a scheduler's ``model_output`` and ``sample``."""
        scaled = sample.float() * self.sample_scale
        return clean_estimate(model_output.float(), scaled, self.signal, self.sigma, self.kind)

    def model_output_for(self, clean: Tensor, sample: Tensor) -> Tensor:
        """The model output, in float32, that makes the scheduler see ``clean``.

        Going there and back, ``clean_estimate`` of it is ``clean`` again to within a few float32 roundings of the two
        terms that are subtracted: |error| <= 4 * 2^-23 * (|sample| + sigma * |model output|) / signal, with 1 in the
        place of ``signal`` for every kind but epsilon.
        """
        scaled = sample.float() * self.sample_scale
        return model_output_for(clean.float(), scaled, self.signal, self.sigma, self.kind)

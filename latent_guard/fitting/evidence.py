"""How far a teacher's scores are from likelihood ratios, found from which prompts are benign and from no label.

Shapes: N images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

MAX_OFFSET = 30.0  # of log-odds; more says nothing
_TINY = 1e-9


@dataclass(frozen=True)
class Evidence:
    """How scores turn into logs of the likelihood ratio of an unsafe image against a safe one.

    Attributes:
        offset: what is to be added to a score.
        loss: the mean negative log-likelihood of which prompts are benign.
    """

    offset: float
    loss: float


def evidence_of(scores: Tensor, asked: Tensor) -> Evidence:
    """Fit the offset of scores, by which of the images are of benign prompts.

    Images of benign prompts are a sample of those that show nothing unsafe, and images of unsafe prompts show
    something or not. So that a prompt is benign has the probability c P(safe | image), with one c for all images (Elkan
    and Noto 2008, "Learning Classifiers from Only Positive and Unlabeled Data", lemma 1). With P(safe | image) of one
    minus the logistic function of score + b, c and b are those of the greatest likelihood. Less the log-odds of the
    mean, b is the offset.

    Args:
        scores: (N,) highest score of each finished image. With exact ratios of K categories that are equally frequent
            the offset of each would be log K more; with those of CLIPs that was worse (benchmarks/LOG.md).
        asked: (N,) whether an image's prompt is unsafe; some are, and some are not.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, logit

    values, unsafe = scores.double().numpy(), asked.numpy()

    def loss(parameters: np.ndarray) -> float:
        shift, share = parameters
        benign = np.clip(share * expit(-values - shift), _TINY, 1 - _TINY)
        return float(-np.where(unsafe, np.log1p(-benign), np.log(benign)).mean())

    start = np.array([-float(np.median(values)), 0.8])
    found = minimize(loss, start, bounds=[(-MAX_OFFSET, MAX_OFFSET), (0.01, 1.0)], method="L-BFGS-B")
    shift = float(found.x[0])
    mean = float(np.clip(expit(values + shift).mean(), _TINY, 1 - _TINY))
    return Evidence(shift - float(logit(mean)), float(found.fun))

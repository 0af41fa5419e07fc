"""Requests that are drawn together are, bit for bit, the same requests alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
import torch

from latent_guard import shipped
from latent_guard.guidance.policy import Policy
from latent_guard.serving.fixed_rows import FixedRows
from latent_guard.serving.service import Service
from latent_guard.serving.settings import Settings
from latent_guard.testing import linear_guard, tiny_pipeline
from tests.serving.running import PATH, get, running, talk

PROMPTS = ["a cat", "a dog", "a red car", "two birds", "a pirate party", "a house"]


def _asked(service: Service, bodies: Sequence[dict[str, Any]], *, at_once: bool) -> list[dict[str, Any]]:
    async def conversation(client: httpx.AsyncClient) -> list[httpx.Response]:
        if at_once:
            return list(await asyncio.gather(*(client.post(PATH, json=body) for body in bodies)))
        return [await client.post(PATH, json=body) for body in bodies]

    return [_content(answer) for answer in talk(service, conversation)]


def _content(answer: httpx.Response) -> dict[str, Any]:
    """What must be equal: pictures and verdicts, not times and ids."""

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            left_out = ("created", "seconds", "request")
            return {key: without_times(inner) for key, inner in value.items() if key not in left_out}
        return [without_times(inner) for inner in value] if isinstance(value, list) else value

    return {"status": answer.status_code, **without_times(answer.json())}


def test_steered_and_retried_requests_at_once_are_what_they_are_one_by_one() -> None:
    policy = Policy(max_pushes=1, strength=0.02, retries=1, safety_margin=0)
    bodies = [{"prompt": prompt, "seed": 10 * n, "n": 1 + n % 2} for n, prompt in enumerate(PROMPTS)]
    with running(Settings(max_batch=4), threshold=-0.02, policy=policy) as service:
        alone = _asked(service, bodies, at_once=False)
        together = _asked(service, bodies, at_once=True)
        assert get(service, "/health/ready").json()["drawn_together"] == 4
        counted = get(service, "/metrics").text
    assert together == alone
    assert {answer["status"] for answer in alone} == {200, 400}  # images of both kinds
    assert 'latent_guard_batch_images_bucket{le="2.0"}' in counted
    batches = float(next(line.split()[1] for line in counted.splitlines() if "batch_images_count" in line))
    assert batches < 2 * len(bodies)


def test_under_a_policy_that_aborts_hopeless_runs_each_request_is_drawn_alone() -> None:
    with running(Settings(max_batch=4), policy="block") as service:
        assert get(service, "/health/ready").json()["drawn_together"] == 1


def test_a_request_that_fails_costs_the_others_nothing() -> None:
    pipe = tiny_pipeline()
    encode = pipe.encode_prompt

    def refusing(prompt: Any, *args: Any, **kwargs: Any) -> Any:
        if "broken" in prompt:
            raise RuntimeError("this prompt breaks the pipeline")
        return encode(prompt, *args, **kwargs)

    pipe.encode_prompt = refusing
    bodies = [{"prompt": prompt, "seed": 1} for prompt in ("a cat", "broken", "a dog")]
    with running(Settings(max_batch=4), guard=linear_guard(1000, "flag"), pipe=pipe) as service:
        assert [answer["status"] for answer in _asked(service, bodies, at_once=True)] == [200, 500, 200]


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_rows_go_through_a_model_in_batches_of_one_shape(rows: int) -> None:
    shapes = []

    def model(x: torch.Tensor, shared: torch.Tensor, *, more: dict[str, torch.Tensor]) -> tuple[torch.Tensor, str]:
        shapes.append(len(x))
        return x * shared.sum() + more["y"], "said"

    fixed = FixedRows(model)
    fixed.rows = rows
    x, y = torch.randn(5, 2), torch.randn(5, 2)
    found, said = fixed(x, torch.ones(7), more={"y": y})
    assert torch.equal(found, x * 7 + y)
    assert said == "said"
    assert set(shapes) == {rows}


def test_gradients_flow_through_to_the_rows_that_were_given() -> None:
    fixed = FixedRows(lambda x: x.square().sum(dim=1))
    fixed.rows = 4
    x = torch.randn(3, 2, requires_grad=True)
    fixed(x).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, 2 * x)


@pytest.mark.slow
def test_the_shipped_models_requests_at_once_are_what_they_are_one_by_one() -> None:
    service = Service(shipped.pipeline(), shipped.guard(), Settings(max_batch=4), shipped.ARGUMENTS, "shipped")
    service.start().result(120)
    bodies = [{"prompt": prompt, "seed": n, "num_inference_steps": 10} for n, prompt in enumerate(PROMPTS)]
    alone = _asked(service, bodies, at_once=False)
    together = _asked(service, bodies, at_once=True)
    assert get(service, "/health/ready").json()["drawn_together"] == 4
    service.stop()
    assert together == alone

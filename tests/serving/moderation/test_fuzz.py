"""Whatever a body holds, the answer is a verdict or OpenAI's error body, and never a 500."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latent_guard.serving.moderation.guardrail import PATH
from tests.documents.hostile import JSON
from tests.serving.moderation.conftest import app_of, data_url, drawn, stored, tiny_checker

ENDPOINTS = ("/v1/moderations", PATH)
PICTURE = stored(drawn("cat"))
_WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [data_url(PICTURE), data_url(PICTURE[:99]), "https://a.b/c", "data:", "data:image/png;base64,", ""]
    ),
)
_PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _WORDS)
_KEYS = (
    "input",
    "model",
    "type",
    "text",
    "image_url",
    "url",
    "texts",
    "images",
    "input_type",
    "tool_calls",
    "function",
)
_ANY = st.recursive(
    _PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from((*_KEYS, "arguments")), st.text(max_size=3)), inner, max_size=4),
    ),
    max_leaves=12,
)
_PART = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "audio"]), "text": _WORDS}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": _WORDS})}),
    _ANY,
)
_NEARLY = st.one_of(
    st.fixed_dictionaries({"input": st.one_of(st.lists(_PART, max_size=4), _ANY)}, optional={"model": _ANY}),
    st.fixed_dictionaries(
        {"input_type": st.sampled_from(["request", "response"])},
        optional={"texts": st.lists(_WORDS, max_size=4), "images": st.lists(_WORDS, max_size=3), "tool_calls": _ANY},
    ),
    _ANY,
)


@pytest.fixture(scope="module")
def client() -> TestClient:
    checker = tiny_checker()
    return TestClient(app_of(lambda: checker), raise_server_exceptions=True)


def is_answer(answer: httpx.Response) -> bool:
    content = answer.json()
    if answer.status_code == 200:
        return "results" in content or content["action"] in ("NONE", "BLOCKED")
    fields = content["error"]
    return (
        answer.status_code in (400, 413) and set(fields) == {"message", "type", "param", "code"} and fields["message"]
    )


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(ENDPOINTS), _NEARLY)
def test_no_json_is_a_500(client: TestClient, path: str, body: Any) -> None:
    assert is_answer(client.post(path, content=json.dumps(body).encode()))


@settings(max_examples=100)
@given(st.sampled_from(ENDPOINTS), st.binary(max_size=60))
def test_no_bytes_are_a_500(client: TestClient, path: str, body: bytes) -> None:
    assert is_answer(client.post(path, content=body))


@pytest.mark.parametrize("path", ENDPOINTS)
def test_no_hostile_document_is_a_500(client: TestClient, path: str) -> None:
    for name, content in JSON.items():
        answer = client.post(path, content=content)
        assert is_answer(answer), name
        assert answer.status_code == 400, name
    for inner in JSON.values():
        answer = client.post(
            path, content=b'{"input_type": "request", "texts": ' + inner + b', "input": ' + inner + b"}"
        )
        assert is_answer(answer)

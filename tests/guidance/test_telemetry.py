"""OpenTelemetry events of verdicts, as an exporter of the SDK gets them; nothing without being asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from latent_guard.errors import InputError
from latent_guard.guidance.policy import BLOCK
from latent_guard.guidance.telemetry import EVENT, NAMES
from latent_guard.testing import linear_bank, linear_guard, tiny_pipeline
from tests.pipelines.tiny import generators

QUICK: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}
ALWAYS = -1e3


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """The process has one for good."""
    found = TracerProvider()
    trace.set_tracer_provider(found)
    return found


@pytest.fixture
def exporter(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    monkeypatch.setenv("LATENT_GUARD_OTEL", "1")
    found = InMemorySpanExporter()
    processor = SimpleSpanProcessor(found)
    provider.add_span_processor(processor)
    yield found
    processor.shutdown()


def test_each_verdict_is_an_event_of_the_current_span(exporter: InMemorySpanExporter) -> None:
    with trace.get_tracer("test").start_as_current_span("a request"):
        output = linear_guard(ALWAYS, BLOCK).generate(tiny_pipeline(), ["a cat", "a dog"], seed=1, **QUICK)
    (span,) = exporter.get_finished_spans()
    assert (span.name, [event.name for event in span.events]) == ("a request", [EVENT] * 2)
    said = dict(span.events[1].attributes or {})
    verdict = output.verdicts[1]
    assert verdict.reason is not None
    assert said["gen_ai.guardrail.component.name"] == "latent-guard"
    assert said["gen_ai.guardrail.policy.id"] == "block"
    assert said["gen_ai.guardrail.result.value"] == "blocked"
    assert said["gen_ai.guardrail.risk.category"] == verdict.category == "violence"
    assert said["gen_ai.guardrail.risk.score"] == pytest.approx(verdict.reason.score)
    assert (said["latent_guard.image"], said["latent_guard.bank"]) == (1, linear_bank(ALWAYS).digest)
    assert set(said) <= set(NAMES.values())


def test_no_word_of_a_prompt_is_in_it(exporter: InMemorySpanExporter) -> None:
    guard, pipe = linear_guard(ALWAYS, BLOCK), tiny_pipeline()
    guard.generate(pipe, "a xylophone", seed=1, **QUICK)
    with guard.attach(pipe):
        pipe("a xylophone", generator=generators(1), **QUICK)
    spans = exporter.get_finished_spans()
    assert [len(span.events) for span in spans] == [1, 1]  # each a span of its own, since none was recorded
    assert "xylophone" not in "".join(span.to_json() for span in spans)


def test_without_being_asked_for_nothing_is_said(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LATENT_GUARD_OTEL")
    linear_guard(ALWAYS, BLOCK).generate(tiny_pipeline(), "a cat", seed=1, **QUICK)
    assert exporter.get_finished_spans() == ()


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENT_GUARD_OTEL", "yes")
    with pytest.raises(InputError, match="LATENT_GUARD_OTEL must be 1"):
        linear_guard(ALWAYS)


def test_where_it_is_not_installed_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENT_GUARD_OTEL", "1")
    for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # as an import of what is not there
    with pytest.raises(InputError, match=r"pip install 'latent-guard\[otel\]'"):
        linear_guard(ALWAYS)


@pytest.mark.slow
def test_the_package_does_not_import_it() -> None:
    code = "import sys, latent_guard.guidance.guard; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Published figures: each says what it is, whose, and of what."""

from __future__ import annotations

from latent_guard.bench.metrics.published import PublishedMetric, published_metrics


def test_each_figure_names_its_source_and_what_it_was_measured_on() -> None:
    figures = published_metrics()
    assert len(figures) > 20
    for figure in figures:
        assert figure.source
        assert figure.measured_on
        assert figure.url.startswith("https://")
        assert figure.metric in ("inappropriate probability", "expected maximum inappropriateness")
        assert 0 < figure.value < 1
        assert figure.spread is None or 0 < figure.spread < 1
    assert len({(f.name, f.source, f.metric, f.measured_on) for f in figures}) == len(figures)


def test_the_two_sources_for_sd_1_4_stand_beside_each_other() -> None:
    named = [f for f in published_metrics() if f.name == "SD 1.4" and f.measured_on.startswith("I2P, all")]
    assert [f.value for f in named] == [0.39, 0.377504, 0.970609]
    assert isinstance(named[0], PublishedMetric)
    assert named[2].spread == 0.062414

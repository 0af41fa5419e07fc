"""The bundle in miniature that `tests/bench` has too."""

from tests.bench.conftest import tiny_bundle

__all__ = ["tiny_bundle"]

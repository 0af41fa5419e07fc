from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_guard.training.encoding.images import ASPECTS, PictureShape, native_shapes, nearest_shape

MULTIPLES = st.sampled_from([1, 8, 16, 32])
SIDES = st.integers(1, 40_000)


@given(MULTIPLES, st.integers(8, 64))
def test_shapes_have_the_squares_area_and_sides_that_the_vae_takes(multiple: int, positions: int) -> None:
    size = multiple * positions
    shapes = native_shapes(size, multiple)
    assert shapes[0] == PictureShape(size, size)
    assert len(shapes) == len(set(shapes)) <= len(ASPECTS)
    for shape in shapes:
        assert shape.height % multiple == shape.width % multiple == 0
        assert 0.8 < shape.height * shape.width / size**2 < 1.25
        assert PictureShape(height=shape.width, width=shape.height) in shapes


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_at_usual_sizes_each_aspect_has_its_shape(size: int) -> None:
    shapes = native_shapes(size, 8)
    assert len(shapes) == len(ASPECTS)
    for shape, (wide, high) in zip(shapes, ASPECTS, strict=True):
        assert shape.height % min(64, size // 8) == shape.width % min(64, size // 8) == 0
        assert shape.width / shape.height == pytest.approx(wide / high, rel=0.06)
        assert shape.height * shape.width == pytest.approx(size**2, rel=0.1)


@given(SIDES, SIDES)
def test_a_picture_goes_to_the_shape_that_cuts_least_away(width: int, height: int) -> None:
    shapes = native_shapes(512, 8)
    chosen = nearest_shape(shapes, width, height)
    scale = {s: max(s.width / width, s.height / height) for s in shapes}  # that just covers the shape
    cut = {s: 1 - s.width * s.height / (width * scale[s] * height * scale[s]) for s in shapes}
    assert cut[chosen] == pytest.approx(min(cut.values()), abs=1e-9)
    if 9 / 16 <= width / height <= 16 / 9:
        assert cut[chosen] < 0.15


@given(SIDES)
def test_a_square_stays_square(side: int) -> None:
    assert nearest_shape(native_shapes(512, 8), side, side) == PictureShape(512, 512)

"""Q16's prompt file: a pickle of one array, read without running what it may hold.

A pickle can name any function and have it called. Here one may name what an array of numbers is made of, and each of
these names leads to a stand-in: numpy's own code never sees the file.
"""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_guard.errors import InputError, reason_of
from latent_guard.latent_clip.unpickling import NumpyDtype

_MAX_BYTES = 1 << 20  # the file of CLIP ViT-L/14 has 3 KB
_FLOATS = ("f2", "f4", "f8")


def read_q16_prompts(path: Path | str) -> NDArray[np.float32]:
    """The two learned prompt embeddings, harmless first: (2, D).

    Raises:
        InputError: no such file, not a pickle of one float array (2, D), or one that names anything else.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _MAX_BYTES else b""
    except OSError as error:
        raise InputError(f"cannot read Q16's prompt file {path}: {error.strerror or error}") from None
    if size > _MAX_BYTES:
        raise InputError(f"{path} has {size} bytes; Q16's prompt file holds two embeddings, a few KB")
    try:
        array = _Unpickler(io.BytesIO(data)).load()
        prompts = array.read() if isinstance(array, _Array) else None
    except Exception as error:  # a damaged pickle raises a dozen unrelated types
        raise InputError(
            f"{path} is refused as Q16's prompt file, and nothing in it was run: {reason_of(error)}"
        ) from None
    if prompts is None or prompts.ndim != 2 or len(prompts) != 2 or not np.isfinite(prompts).all():
        raise InputError(f"{path} is not Q16's prompt file: it must hold one array of two embeddings, (2, D)")
    return prompts


class _Array:
    """Stands in for ``numpy.ndarray``: keeps the state that numpy would be given."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def read(self) -> NDArray[np.float32]:
        """The array; numpy checks that the bytes fit the shape."""
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, NumpyDtype) or dtype.kind not in _FLOATS or not isinstance(data, bytes):
            raise ValueError("it holds something else than numbers")
        numbers = np.frombuffer(data, np.dtype(dtype.order + dtype.kind))
        if not all(type(side) is int and side > 0 for side in shape) or math.prod(shape) != numbers.size:
            raise ValueError("the array's shape does not fit its bytes")
        array: NDArray[np.float32] = numbers.reshape(shape, order="F" if fortran else "C").astype(np.float32)
        return array


class _Reconstruct:
    """Stands in for numpy's ``_reconstruct``, which starts every array."""

    __slots__ = ()

    def __call__(self, *_: Any) -> _Array:
        return _Array()


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): NumpyDtype,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),  # before numpy 2
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}"[:80])
        return _ALLOWED[module, name]

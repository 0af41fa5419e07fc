"""Reading untrusted files of ``torch.save`` without running any code that they name.

A pickle can name any function and have it called. Here it may name the parts of tensors and containers (the list of
``torch.load(weights_only=True)``), and numbers of numpy, as optimizers' states hold them; all else is refused before it
is looked up. Numbers of numpy are read by stand-ins below, never by numpy's own code.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from latent_guard.errors import CheckpointError, reason_of

_NUMBERS = {"f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"}
_BYTE_ORDERS = {"<", ">", "=", "|"}
_NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2


def restricted_load(source: Path | IO[bytes], name: str | None = None) -> Any:
    """Load a file of ``torch.save`` onto the CPU; numbers of numpy become Python's.

    Args:
        source: a file in the zip format of ``torch.save``, or one opened for reading, which is then read whole; the
            tensors of the former stay on disk until they are used.
        name: what errors call the file; by default its path.

    Raises:
        CheckpointError: missing, corrupt, truncated or of another format, or holding more than tensors, containers,
            text and numbers.
    """
    where = name or str(source)
    _require_zip(source, where)
    try:
        with torch.serialization.safe_globals([NumpyDtype, *_SCALARS]):
            return torch.load(source, map_location="cpu", weights_only=True, mmap=isinstance(source, Path))
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        held = f"it names {named[1]}" if named else "it holds more than a pickle of tensors may"
        raise CheckpointError(
            f"{where} is refused and nothing in it was run: {held}, and a checkpoint needs only tensors, containers, "
            "text and numbers; get the file from its authors again"
        ) from error
    except Exception as error:  # torch raises a dozen unrelated types for a damaged file
        raise CheckpointError(f"{where} is corrupt or truncated ({reason_of(error)}); copy it again") from error


class NumpyDtype:
    """Stand-in for ``numpy.dtype`` in a pickle: the kind and the byte order of a number, and nothing else."""

    __module__, __qualname__ = "numpy", "dtype"  # by which torch's allow-list knows it

    def __init__(self, kind: str, align: bool = False, copy: bool = False) -> None:
        """``kind`` as pickled, like "f8"; the rest is numpy's and ignored."""
        if kind not in _NUMBERS:
            raise pickle.UnpicklingError(f"GLOBAL numpy.dtype({str(kind)[:20]!r}) is not a number's")
        self.kind, self.order = kind, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the byte order alone from numpy's state."""
        self.order = state[1] if state[1] in _BYTE_ORDERS else "="


NumpyDtype.__name__ = "dtype"


def _scalar_of(module: str) -> Any:
    """A stand-in for ``scalar`` of a module of numpy: one number from its bytes."""

    def scalar(dtype: NumpyDtype, data: bytes) -> Any:
        if not isinstance(dtype, NumpyDtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("GLOBAL numpy.scalar of something else than a number")
        (number,) = np.frombuffer(data, np.dtype(dtype.order + dtype.kind))
        return number.item()

    scalar.__module__, scalar.__qualname__ = module, "scalar"
    return scalar


_SCALARS = [_scalar_of(module) for module in _NUMPY_MODULES]


def _require_zip(source: Path | IO[bytes], where: str) -> None:
    if isinstance(source, Path):
        if not source.is_file():
            raise CheckpointError(f"there is no file {where}; check the path")
        found = zipfile.is_zipfile(source)
    else:
        found = zipfile.is_zipfile(source)
        source.seek(0)
    if not found:  # torch's older format is refused too: it is read by other, longer code
        raise CheckpointError(f"{where} is not the zip file that torch.save writes, or it is truncated; copy it again")

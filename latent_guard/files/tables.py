"""Tables on disk, as Parquet."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pandas as pd

from latent_guard.errors import InputError, reason_of


def parquet(records: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    records.to_parquet(buffer, index=False)
    return buffer.getvalue()


def read_table(path: Path) -> pd.DataFrame:
    """A table that ``parquet`` made.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        return pd.read_parquet(BytesIO(path.read_bytes()))
    except Exception as error:  # pyarrow and pandas raise a dozen unrelated types for damaged files
        raise InputError(f"{path}: cannot be read as Parquet ({reason_of(error)})") from error

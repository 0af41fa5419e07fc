"""The package opens pictures in one place, and data sets in one other: whoever adds a reader must go through them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from PIL import Image

from latent_guard.files.images import SUFFIXES, formats
from tests.sources import sources

PICTURES, DATA_SETS = "files/images.py", "files/data_sets.py"
OPENERS = {
    # what is called -> the file that may call it
    **dict.fromkeys(("Image.open", "ImageFile.Parser", "decode_example", "load_image", "imread"), PICTURES),
    **dict.fromkeys(("read_image", "decode_image", "default_loader", "ImageFolder"), PICTURES),
    **dict.fromkeys(("load_dataset", "load_dataset_builder", "load_from_disk", "from_parquet"), DATA_SETS),
}
SAFE = ("EPS", "ICNS", "IPTC_NAA", "WMF", "FPX", "MIC", "PSD", "FITS", "HDF5", "GRIB", "BUFR", "CUR", "MPEG")


def opened_in(source: str) -> Iterator[str]:
    """What a module calls, or imports by name, of all that opens pictures and data sets."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            yield from (name for name in OPENERS if f".{called}".endswith(f".{name}"))
            if called.endswith("datasets.Image") and "decode=False" not in ast.unparse(node):
                yield "datasets.Image"
        elif isinstance(node, ast.ImportFrom):
            yield from (name for name in OPENERS if name in {alias.name for alias in node.names})
            if node.module == "PIL.Image" and "open" in {alias.name for alias in node.names}:
                yield "Image.open"


@pytest.mark.parametrize(
    "source",
    [
        "from PIL import Image\nImage.open(path)",
        "import PIL.Image\nPIL.Image.open(path)",
        "from PIL.Image import open as open_picture",
        "import datasets\ndatasets.Image().decode_example(row)",
        "import datasets\ndata.cast_column('image', datasets.Image())",
        "from datasets import load_dataset",
        "datasets.load_dataset(name)",
        "torchvision.io.read_image(path)",
    ],
)
def test_an_opener_is_recognised(source: str) -> None:
    assert list(opened_in(source))


def test_only_these_files_open_pictures_and_data_sets() -> None:
    for name, text in sources():
        others = {opener for opener in opened_in(text) if OPENERS.get(opener) != name}
        assert not others, f"{name} calls {others}; use files.images.opened_picture or files.data_sets.load_undecoded"


def test_the_formats_are_a_closed_list() -> None:
    Image.init()
    known = Image.registered_extensions()
    assert {"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"} <= set(formats())
    assert set(formats()) <= {known[suffix] for suffix in SUFFIXES} | {"DIB"}
    assert not set(formats()) & set(SAFE)

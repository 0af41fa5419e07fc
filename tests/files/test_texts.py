"""Texts from outside in CSV and JSON: nothing in them runs or is obeyed, and nothing of them is lost."""

from __future__ import annotations

import csv
import io
import json
import re

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from latent_guard.errors import UNPRINTABLE
from latent_guard.files.csv_text import csv_cell, csv_lines, name_cell, name_of_cell, table_csv
from latent_guard.files.json_text import json_text

ANY = st.text(alphabet=st.characters()) | st.text(alphabet="=+-@'\\;\"\t\n\r x\udcff\u2028\uffff\uff1dn")


@given(ANY)
def test_a_name_is_had_back_from_its_cell_and_no_spreadsheet_runs_it(name: str) -> None:
    cell = name_cell(name)
    assert name_of_cell(cell) == name
    assert csv_cell(cell) == cell
    assert not re.search('(?:^|[;\t\n][\\s"]*)[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]', cell)
    cell.encode()
    ((read,),) = csv.reader(io.StringIO(csv_lines([[cell]]), newline=""))
    assert read == cell


def test_harmless_names_stand_in_their_cells_as_they_are() -> None:
    for name in ("a/b c.png", "it's.png", "漢字 (1).png", "a-b+c=d.png"):
        assert name_cell(name) == name


@given(ANY)
def test_a_cell_that_was_guarded_is_guarded_once(text: str) -> None:
    assert csv_cell(csv_cell(text)) == csv_cell(text)


def test_a_tables_text_is_guarded_and_its_numbers_are_not() -> None:
    table = pd.DataFrame({"=name": ["=1+1", "@x"], "value": [-1.5, 2.0]})
    assert table_csv(table) == b"'=name,value\n'=1+1,-1.5\n'@x,2.0\n"


@given(ANY | st.dictionaries(ANY, ANY | st.integers()))
def test_json_means_the_same_and_holds_nothing_that_is_obeyed(value: object) -> None:
    for indent in (None, 1):
        text = json_text(value, indent)
        assert json.loads(text) == value
        assert not UNPRINTABLE.search(text.replace("\n", ""))
        text.encode()

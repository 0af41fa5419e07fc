"""What lands on disk: CSV that no spreadsheet runs, Markdown that stays a table, names that no prompt chooses."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from latent_guard.errors import InputError
from latent_guard.files.csv_text import clean, csv_cell
from latent_guard.report.untrusted_text import markdown_cell, markdown_code, shortened
from latent_guard.report.write import write_report
from tests.report.run_folder import HOSTILE, LACKING, METHODS, build

MARKDOWN = MarkdownIt("commonmark").enable("table")
FORMULA_SIGNS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return build(folder, 4 * len(HOSTILE), prompts=HOSTILE)


@pytest.fixture(scope="module")
def written(hostile: Path) -> Path:
    return write_report(hostile).html.parent


def test_no_text_of_the_csv_begins_like_a_formula_and_numbers_stay_numbers(written: Path) -> None:
    with open(written / "images.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * len(HOSTILE)
    for row, record in zip(rows, pd.read_parquet(written / "records.parquet").to_dict("records"), strict=True):
        assert not row["prompt"].startswith(FORMULA_SIGNS)
        assert _unguarded(row["prompt"]) == _unguarded(clean(record["prompt"]))
        assert float(row["score"]) == record["score"]
        assert int(row["seed"]) == record["seed"]
    figures = pd.read_csv(written / "metrics.csv")
    differences = figures[figures["column"] == "Difference"]
    assert (differences["value"] < 0).all()
    assert len(differences) == len(METHODS) - 1


def test_markdown_lists_what_was_missed_and_no_prompt_breaks_its_table(written: Path) -> None:
    page = (written / "report.md").read_text(encoding="utf-8")
    rendered = MARKDOWN.render(page)
    for tag in ("<script", "<img", "<a ", "<style", "<svg", "<em>"):
        assert tag not in rendered
    assert rendered.count("<h1>") == 1
    assert rendered.count("<h2>") == 9
    missed = rendered.split("<h2>Missed</h2>")[1].split("<h2>")[0]
    listed = {_bare(html.unescape(line[4:-5])) for line in missed.splitlines() if line[:4] == "<td>"}
    images = pd.read_csv(written / "images.csv")
    prompts = {
        _bare(" ".join(shortened(clean(HOSTILE[index % len(HOSTILE)])).start.split()))
        for index in images.loc[images["review_group"] == "Missed", "prompt_index"]
    }
    assert len(prompts) > 5
    assert prompts <= listed


def _bare(text: str) -> str:
    """Without the marks of direction at its ends."""
    return text.strip("\u2068\u2069\u202c")


def test_no_prompt_chooses_a_file_name(hostile: Path, tmp_path: Path) -> None:
    write_report(hostile, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "images.csv",
        "metrics.csv",
        "report.html",
        "report.md",
    ]


@pytest.mark.parametrize("lacking", [LACKING, ("methods",), ("curves", "command")], ids=lambda names: "+".join(names))
def test_any_section_of_the_summary_may_be_absent(tmp_path: Path, lacking: tuple[str, ...]) -> None:
    files = write_report(build(tmp_path / "run", 12, lacking=lacking))
    page = files.html.read_text(encoding="utf-8")
    for heading in ("Summary", "Safety against utility", "Categories", "Calibration", "Cost", "Gallery", "Rerun"):
        assert f">{heading}</h2>" in page
    if "command" in lacking:
        assert "This run kept no command." in page
    if "methods" in lacking:
        assert "Blocked" in page  # what the records tell by themselves


def test_one_method_without_categories_or_times_is_a_report_too(tmp_path: Path) -> None:
    run = build(tmp_path / "run", 6, ("unguarded",), lacking=LACKING, changes={"categories": "", "seconds": None})
    (run / "summary.json").unlink()
    page = write_report(run).html.read_text(encoding="utf-8")
    assert "No prompt of this run has a category." in page
    assert "This run recorded no times." in page


def test_an_image_that_is_gone_or_broken_is_said_not_hidden(tmp_path: Path) -> None:
    run = build(tmp_path / "run", 8, ("unguarded", "guard"), lacking=LACKING)
    (run / "images/000001.png").unlink()
    (run / "images/000003.png").write_bytes(b"no picture")
    page = write_report(run).html.read_text(encoding="utf-8")
    assert "2 of the run's images could not be read." in page
    assert page.count(">No image<") == 2


def test_a_smaller_run_leaves_no_thumbnails_of_a_larger_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert write_report(build(tmp_path / "large", 303, ("unguarded", "guard", "sld"), lacking=LACKING), out).thumbs
    (out / "thumbs" / "mine.txt").write_text("stays")
    assert write_report(build(tmp_path / "small", 6, lacking=LACKING), out).thumbs is None
    assert [path.name for path in (out / "thumbs").iterdir()] == ["mine.txt"]


def test_a_page_of_few_images_shows_every_method_and_leaves_the_figures_as_they_are(tmp_path: Path) -> None:
    run = build(tmp_path / "run", 400)
    files, whole = write_report(run, tmp_path / "few", max_images=24), write_report(run, tmp_path / "all")
    page = files.html.read_text(encoding="utf-8")
    assert files.thumbs is None
    assert "of the run's 400 images" in page
    counted = whole.html.read_text(encoding="utf-8").split("<nav")[0].split('class="glance"')[1]
    assert page.split("<nav")[0].split('class="glance"')[1] == counted, "its header counts all images of the run"
    methods_of_cards = re.findall(r'class="card" data-method="(\d)"', page)
    assert 12 <= len(methods_of_cards) <= 24
    assert len(set(methods_of_cards)) == len(METHODS)
    for one, other in ((files.metrics, whole.metrics), (files.images, whole.images)):
        assert one.read_bytes() == other.read_bytes()


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = build(tmp_path / "run", 12)
    first = write_report(run, tmp_path / "a").html.read_bytes()
    assert write_report(run, tmp_path / "b").html.read_bytes() == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "../../secret.png"}, "outside the run folder"),
        ({"row": 3}, "same number"),
        ({"unsafe": None}, "no value in some rows of unsafe"),
        ({"seed": "seven"}, "resume the run"),
    ],
)
def test_records_that_no_run_writes_are_refused_in_a_line(tmp_path: Path, changes: dict, message: str) -> None:
    run = build(tmp_path / "run", 6, lacking=LACKING)
    pd.read_parquet(run / "records.parquet").assign(**changes).to_parquet(run / "records.parquet")
    with pytest.raises(InputError, match=message) as raised:
        write_report(run)
    assert "\n" not in str(raised.value)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("summary.json", "{", "not valid JSON"),
        ("summary.json", "[]", "not a JSON object"),
        ("summary.json", '{"curves": []}', "curves is not a table"),
        (
            "summary.json",
            '{"methods": {"unguarded": {"risky": {"unsafe": "many"}}}}',
            "methods, unguarded, risky, unsafe",
        ),
        ("summary.json", '{"methods": {"unguarded": [1]}}', "methods, unguarded is not a table"),
        ("summary.json", '{"calibration": [7]}', "calibration, 0 is not a table"),
        ("summary.json", '{"curves": {"sld": [1]}}', "curves, sld, 0 is not a table"),
        ("summary.json", '{"comparisons": [1]}', "comparisons, 0 is not a table"),
        ("records.parquet", "PAR1", "cannot be read as Parquet"),
    ],
)
def test_files_that_no_run_writes_are_refused_in_a_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    run = build(tmp_path / "run", 6)
    (run / name).write_text(content)
    with pytest.raises(InputError, match=message):
        write_report(run)


def test_a_run_without_an_image_is_refused(tmp_path: Path) -> None:
    run = build(tmp_path / "run", 2)
    pd.read_parquet(run / "records.parquet").iloc[:0].to_parquet(run / "records.parquet")
    with pytest.raises(InputError, match="no image yet"):
        write_report(run)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finished `latent-guard bench run`"):
        write_report(tmp_path)


def test_names_of_methods_are_not_read_as_formulae_by_a_chart(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    run = build(tmp_path / "run", 6, ("unguarded", "guard $\\frac{$ 👩"))
    assert write_report(run).html.is_file()
    assert [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)] == []


def test_surrogates_of_a_summary_reach_every_writer(tmp_path: Path) -> None:
    run = build(tmp_path / "run", 6)
    summary = json.loads((run / "summary.json").read_text())
    summary |= {"command": "run \ud800 \x00 `x`", "methods": {"\udfff|<b>$x$": {"=risky": {"unsafe": 0.5}}}}
    (run / "summary.json").write_text(json.dumps(summary))
    files = write_report(run)
    for path in (files.html, files.markdown, files.metrics):
        text = path.read_bytes().decode("utf-8")
        assert "\x00" not in text
        assert "<b>$x$" not in text or path == files.metrics


@given(st.text())
def test_any_text_is_one_markdown_cell(text: str) -> None:
    cell = markdown_cell(text)
    rendered = MARKDOWN.render(f"| a | b |\n| --- | --- |\n| x{cell}x | y |\n")
    assert rendered.count("<") == MARKDOWN.render("| a | b |\n| --- | --- |\n| x | y |\n").count("<")


@given(st.text())
def test_any_text_survives_a_csv_and_is_no_formula(text: str) -> None:
    cell = csv_cell(text)
    assert isinstance(cell, str)
    assert not cell.startswith(FORMULA_SIGNS)
    assert _unguarded(cell) == _unguarded(clean(text))
    cell.encode()


@given(st.text(alphabet=";\t\n\"=-＝ a'"))  # noqa: RUF001
def test_no_text_is_a_formula_where_a_spreadsheet_splits_it(text: str) -> None:
    _, *later = re.split("[;\t\n]", str(csv_cell(text)))
    assert not any(piece.lstrip(' "').startswith(FORMULA_SIGNS) for piece in later)
    assert _unguarded(str(csv_cell(text))) == _unguarded(text)


def test_a_sign_that_begins_nothing_stays_as_it_is() -> None:
    for text in ("a knife - and a cake", "x = 1; y", "a-b\nc+d", "one;two"):
        assert csv_cell(text) == text
    assert csv_cell("x;=1+1") == "x;'=1+1"


def _unguarded(text: str) -> str:
    """Without apostrophes: those that guard are not told from a prompt's own."""
    return text.replace("'", "")


@given(st.text(alphabet="`~\n ab"))
def test_a_code_block_ends_where_its_text_ends(text: str) -> None:
    tokens = MARKDOWN.parse(f"{markdown_code(text)}\nafter\n")
    assert [token.type for token in tokens][:2] == ["fence", "paragraph_open"]
    assert tokens[0].content == f"{text}\n"


@given(st.text(min_size=1), st.integers(1, 20))
def test_a_shortened_text_keeps_the_whole(text: str, length: int) -> None:
    short = shortened(text, length)
    assert short.whole == (text if len(text) > length else None)
    assert len(short.start) <= length + 2


def _with_i2p(run: Path, out_of_domain: str) -> Path:
    """The run as one under I2P's protocol, with a stamp."""
    share, spread = {"value": 0.25, "low": 0.1, "high": 0.4, "count": 20}, {"mean": 0.8, "std": 0.1}
    maximum = {"drawn": 25, "prompts": 40, "closed_form": spread, "monte_carlo": {**spread, "draws": 10_000}}
    figures = {"inappropriate": {"all": share}, "expected_maximum": maximum}
    task = {"mode": "paper", "guidance_scale": "the list's", "split": "all", "images_a_prompt": 10}
    row = {"name": "SD 1.4", "source": "A paper", "url": "https://127.0.0.1/", "metric": "inappropriate probability"}
    published = [{**row, "value": 0.39, "measured_on": "I2P", "spread": None}]
    methods = {"unguarded": figures, "guard": {**figures, "expected_maximum": None}}
    i2p = {"tasks": {"i2p": {**task, "methods": methods}}, "published": published}
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "i2p": i2p, "out_of_domain": out_of_domain}))
    return run


def test_published_figures_stand_in_a_section_of_their_own_and_a_run_out_of_domain_says_so_first(
    tmp_path: Path,
) -> None:
    files = write_report(_with_i2p(build(tmp_path / "run", 8), "OUT OF DOMAIN: <script>window.hacked = 1</script>"))
    figures = pd.read_csv(files.metrics)
    assert set(figures.loc[figures["section"] == "I2P", "row"]) == {"unguarded", "guard"}
    published = figures[figures["section"] == "Published by others"]
    assert list(published["row"]) == ["SD 1.4"]
    assert list(published["value"]) == [0.39]
    assert "SD 1.4" not in set(figures.loc[figures["section"] != "Published by others", "row"])
    assert "80.0% (± 10.0)" in files.markdown.read_text(encoding="utf-8")
    head = files.html.read_text(encoding="utf-8").split("<main>")[0]
    assert "OUT OF DOMAIN: &lt;script&gt;" in head
    assert files.markdown.read_text(encoding="utf-8").splitlines()[2].startswith("**OUT OF DOMAIN")


def test_i2p_figures_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    run = build(tmp_path / "run", 4)
    (run / "summary.json").write_text(json.dumps({"i2p": {"tasks": []}}))
    with pytest.raises(InputError, match=r"summary\.json: i2p is not what a run writes"):
        write_report(run)

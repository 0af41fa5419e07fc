"""Whatever a file, a folder, a category or a prompt is called: it is printed as text, and exit codes stay."""

from __future__ import annotations

import ast
import io
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latent_guard import terminal
from latent_guard.concepts.bank import ConceptBank
from latent_guard.files.json_text import json_text
from latent_guard.terminal import Table, put_data, put_json, say, status, track
from tests.sources import sources

Command = Callable[..., Any]
MARKUP = ("[/red]", "[bold]plain[/bold]", "[link=file:///x]y", ":smiley:", "[/]")
CONTROLS = ("\x1b[31mred\x1b]0;title\x07", "a\rb\nc\td", "\x9b2J\x7f\x00", "\u202egnp.exe\u2066", "\u2028x")
HOSTILE = (*MARKUP, *CONTROLS, "=cmd|' /C calc'!A1", "long " * 2000)
OBEYED = {chr(n) for n in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066)} - {"\n"}


def obeyed(text: str) -> set[str]:
    return OBEYED & set(text)


def named(bank: ConceptBank, name: str) -> ConceptBank:
    """The bank, its one category and its concepts called like this."""
    concepts = [replace(concept, category=name, prompt=name) for concept in bank.concepts]
    return replace(bank, concepts=type(bank.concepts)(concepts))


@pytest.fixture(params=HOSTILE, ids=range(len(HOSTILE)))
def hostile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def hostile_bundle(tiny_bundle: Path, tmp_path: Path, hostile: str) -> Path:
    """A bundle whose bank blocks everything, for a category of that name."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    bank = named(ConceptBank.load(bundle / "bank"), hostile)
    bank.with_thresholds(bank.noise_levels, bank.thresholds - 1e3).save(bundle / "bank")
    return bundle


@pytest.mark.parametrize("hostile", ["[/red]", ":smiley:", CONTROLS[0] + CONTROLS[1]], indirect=True)
def test_a_blocked_generation_exits_with_3_whatever_its_category_is_called(
    latent_guard_command: Command, hostile_bundle: Path, hostile: str, tmp_path: Path
) -> None:
    log, out = tmp_path / "audit.jsonl", tmp_path / "out"
    common = ("generate", "a cat", "--policy", "block", "--steps", 1, "--model", hostile_bundle / "pipeline")
    done = latent_guard_command(*common, "--out", out, "--audit", log, "--json")
    assert done.code == 3
    assert (out / "000.png").is_file()
    assert json.loads(done.out)["category"] == hostile
    assert not obeyed(done.out + done.err)
    done = latent_guard_command("audit", "summary", log)
    assert (done.code, done.err, obeyed(done.out)) == (0, "", set())
    done = latent_guard_command("audit", "summary", log, "--json")
    assert json.loads(done.out)["by_decision"] == {"blocked": {hostile: 1}}
    assert not obeyed(done.out)
    done = latent_guard_command("concepts", "show", hostile_bundle / "bank")
    assert (done.code, done.err, obeyed(done.out)) == (0, "", set())
    if hostile in MARKUP:
        assert hostile in done.out.replace("\n", "")


def test_a_blocked_generation_exits_with_3_even_if_it_cannot_be_printed(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = ConceptBank.load(tiny_bundle / "bank")
    bank.with_thresholds(bank.noise_levels, bank.thresholds - 1e3).save(tmp_path / "bank")

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Table, "show", broken)
    done = latent_guard_command(
        "generate", "a cat", "--policy", "block", "--steps", 1, "--out", tmp_path / "out",
        "--model", tiny_bundle / "pipeline", "--bank", tmp_path / "bank",
    )  # fmt: skip
    assert done.code == 3
    assert (tmp_path / "out" / "000.json").is_file()


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_checked_files_are_named_as_they_are_and_nothing_of_their_names_is_obeyed(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    monkeypatch.chdir(folder)
    names = [
        *(name.replace("/", "_").replace("\0", "")[:80] for name in HOSTILE),
        "=1+1",
        "a;=2",
        "\udcff",
        "'=x",
        "a\\n",
    ]
    for name in names:
        Image.new("RGB", (16, 16)).save(Path(f"{name}.bmp"))
    files = [f"./{name}.bmp" for name in names]
    done = latent_guard_command("check", *files, "--model", tiny_bundle / "pipeline", "--format", form)
    assert (done.code, done.err, obeyed(done.out)) == (0, "", set())
    done.out.encode()
    if form == "jsonl":
        assert [json.loads(line)["file"] for line in done.out.splitlines()] == [f"{name}.bmp" for name in names]
    if form == "csv":
        assert not any(line.startswith(("=", '"=', "@")) for line in done.out.splitlines())


def test_a_resumed_csv_knows_its_own_files_again(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("=1+1", "'=1+1", "a;=2", "a;'=2", "x\udcff", "\\udcff", "tab\t=3", "@SUM(A1)", "plain"):
        Image.new("RGB", (16, 16)).save(Path(f"{name}.bmp"))
    command = ("check", ".", "--model", tiny_bundle / "pipeline", "--out", tmp_path / "found.csv")
    assert latent_guard_command(*command).code == 0
    lines = (tmp_path / "found.csv").read_bytes().splitlines()
    assert len(lines) == 10
    assert not any(line.startswith((b"=", b"@", b'"=')) for line in lines)
    done = latent_guard_command(*command)
    assert done.code == 0
    again = (tmp_path / "found.csv").read_bytes().splitlines()
    assert sorted(line.split(b".bmp")[0] for line in again) == sorted(line.split(b".bmp")[0] for line in lines)


def test_a_policy_and_its_categories_are_printed_as_they_are_called(
    latent_guard_command: Command, tmp_path: Path, hostile: str
) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text(json.dumps({"categories": {hostile: {"measures": ["flag"]}}}))
    done = latent_guard_command("policy", "check", policy)
    assert done.code in (0, 2)
    assert not obeyed(done.out + done.err)
    if hostile in MARKUP:
        assert (done.code, hostile in done.out) == (0, True)


def test_tables_lines_and_bars_take_any_text(capsys: pytest.CaptureFixture[str], hostile: str) -> None:
    table = Table("name", hostile, title=hostile)
    table.add(hostile, f"{hostile}\nsecond line")
    table.show()
    say(hostile)
    terminal.warn(hostile)
    with status(hostile):
        assert list(track([1, 2], hostile)) == [1, 2]
    put_json(json_text({"x": hostile}))
    put_data(f"{hostile}\n")
    printed = capsys.readouterr()
    assert not obeyed(printed.out.replace("a\rb\nc\td", "") + printed.err)
    if hostile in MARKUP:
        assert printed.out.count(hostile) >= 3


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_a_stream_of_any_encoding_takes_any_name(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.take_any_text()
    say("x\udcff.png \N{PILE OF POO} é")
    table = Table("file")
    table.add("x\udcff \N{PILE OF POO}")
    table.show()
    stream.flush()
    assert b"x\\udcff" in stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_a_warning_is_one_line_that_quotes_little(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    words = f"\x1b[31m{'x' * 10_000}\x9b "
    with pytest.warns(UserWarning, match="words") as caught:
        done = latent_guard_command(
            "generate", "a cat " + words * 20, "--steps", 1,
            "--model", tiny_bundle / "pipeline", "--out", tmp_path / "out",
        )  # fmt: skip
    assert done.code == 0
    message = str(next(warning.message for warning in caught if "words" in str(warning.message)))
    assert not obeyed(message)
    assert len(message) < 500
    shown = warnings.formatwarning(Warning(f"{words * 20}\nsecond line"), UserWarning, "", 0)
    assert shown.startswith("warning: ")
    assert (shown.count("\n"), obeyed(shown)) == (1, set())


def test_what_libraries_log_is_one_line(latent_guard_command: Command, caplog: pytest.LogCaptureFixture) -> None:
    latent_guard_command("bench", "list")  # the command line sees to it
    logging.getLogger("some.library").warning("a name: %s", "\x1b[31mred\nsecond line")
    assert caplog.messages[-1] == "a name: \\x1b[31mred second line"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for name, text in sources():
        yield name, ast.parse(text)


def calls(tree: ast.Module) -> Iterator[str]:
    """What a module calls, by the last parts of its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                owner = function.value
                yield f"{owner.id if isinstance(owner, ast.Name) else ''}.{function.attr}"
            elif isinstance(function, ast.Name):
                yield function.id


def names_from(tree: ast.Module, module: str) -> set[str]:
    """What a module imports from another."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == module)
    return {alias.asname or alias.name for node in nodes for alias in node.names}


def test_one_module_alone_prints() -> None:
    printing = {"print", "typer.echo", "typer.secho", "rich.print"}
    for name, tree in modules():
        made = {*calls(tree)}
        drawing = names_from(tree, "rich.progress") & {"Progress", "track"}
        foreign = (
            names_from(tree, "rich.table") | names_from(tree, "rich") | names_from(tree, "rich.console") - {"Console"}
        )
        shows = made & (printing | drawing | foreign | names_from(tree, "rich.console"))
        assert not shows or name == "terminal.py", (name, shows)


def test_one_module_alone_makes_csv() -> None:
    own = {
        "files/csv_text.py": "the one",
        # the world's prompts, which are committed as they are and read back so; nobody else's text is in them
        "worlds/emoji/prompts.py": "prompt lists",
        "worlds/emoji/composition.py": "prompt lists",
    }
    writing = ("csv.writer", "csv.DictWriter", "to_csv")
    found = {
        name
        for name, tree in modules()
        for call in calls(tree)
        if call in writing or (call.endswith(".to_csv") and call != "found.to_csv")
    }
    assert found == own.keys()


def test_nothing_is_wrong_with_harmless_names(capsys: pytest.CaptureFixture[str]) -> None:
    say("a cat, 漢字 \N{GRINNING FACE} (50%) [x]")
    assert capsys.readouterr().out == "a cat, 漢字 \N{GRINNING FACE} (50%) [x]\n"

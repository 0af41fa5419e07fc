"""What a run says of the code that made it."""

from dataclasses import replace
from pathlib import Path

import pytest

from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.runs import provenance
from latent_guard.errors import GuardError

FILES = (
    *("guidance/guard.py", "guidance/inner/deep.py", "pipelines/step.py", "concepts/scoring.py"),
    "guidance/policies/safe.yaml",
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a file of each kind that a guarded image depends on."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_the_guards_hash_covers_whatever_makes_a_guarded_image(package: Path, name: str) -> None:
    whole = provenance.guard_code()
    assert provenance.guard_code() == whole
    (package / name).write_text("changed")
    assert provenance.guard_code() != whole


def test_files_that_are_not_there_are_an_error_and_not_a_hash_of_nothing(package: Path) -> None:
    (package / "guidance/policies/safe.yaml").unlink()
    with pytest.raises(GuardError, match=r"holds no guidance/policies/\*.yaml; install"):
        provenance.guard_code()


def test_the_hash_of_prompts_covers_what_a_judge_reads_of_them() -> None:
    plain, asked = PromptRow("a cat", 1), PromptRow("a cat", 1, extra={"tag": "single", "metadata": "a cat"})
    hashes = [provenance.prompts_hash({"risky": [row]}) for row in (plain, asked)]
    assert hashes[0] == "d8631cc97ced94839ec98b3b866b159bc96c53a819447d9c1c7bd439d92d3be5"  # as recorded runs have it
    assert hashes[0] != hashes[1]
    for other in ({"tag": "single", "metadata": "a dog"}, {"tag": "single"}):
        assert provenance.prompts_hash({"risky": [replace(asked, extra=other)]}) != hashes[1]
    turned = replace(asked, extra={"metadata": "a cat", "tag": "single"})
    assert provenance.prompts_hash({"risky": [turned]}) == hashes[1]

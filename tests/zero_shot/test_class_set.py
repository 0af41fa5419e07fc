from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_guard.errors import InputError
from latent_guard.zero_shot.class_set import ClassSet, class_set

NAMES = ("golden retriever", "tabby", "fire engine")


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_classes_come_from_a_text_file_a_yaml_file_or_the_data_itself(tmp_path: Path) -> None:
    plain = class_set(written(tmp_path, "a.txt", "golden retriever\n\n tabby\nfire engine\n"), None)
    assert (plain.names, plain.labels, plain.templates) == (NAMES, NAMES, ("a photo of a {}.",))
    listed = class_set(written(tmp_path, "a.yaml", f"classes: {list(NAMES)}\ntemplates: ['{{}}', 'one {{}}']"), None)
    assert (listed.names, listed.templates) == (NAMES, ("{}", "one {}"))
    mapped = class_set(written(tmp_path, "b.yaml", "classes: {n02099601: golden retriever, n02123045: tabby}"), None)
    assert (mapped.names, mapped.labels) == (NAMES[:2], ("n02099601", "n02123045"))
    assert class_set(None, ["fire_engine", "tabby"]).names == ("fire engine", "tabby")


def test_imagenet_has_its_thousand_names_and_eighty_templates() -> None:
    imagenet = class_set("imagenet", None)
    assert (len(imagenet), len(imagenet.templates)) == (1000, 80)
    assert (imagenet.names[0], imagenet.names[-1]) == ("tench", "toilet paper")
    assert "a bad photo of a {}." in imagenet.templates
    folders = [f"n{number:08d}" for number in range(1000)]
    assert imagenet.numbers_of(folders) == list(range(1000))
    own = [name if place % 9 else f"{name}, a synonym" for place, name in enumerate(imagenet.names)]
    assert imagenet.numbers_of(own) == list(range(1000))
    of_version_two = sorted(str(number) for number in range(1000))
    assert imagenet.numbers_of(of_version_two)[:4] == [0, 1, 10, 100]


@given(st.permutations(range(3)))
def test_labels_are_found_by_name_in_any_order(order: list[int]) -> None:
    classes = ClassSet(NAMES, ("{}",), NAMES)
    labels = [NAMES[number].replace(" ", "_").title() for number in order]
    assert classes.numbers_of(labels) == order
    assert classes.numbers_of(labels[:2]) == order[:2]


def test_labels_that_are_known_by_no_name_are_taken_in_order_if_there_are_as_many() -> None:
    classes = ClassSet(NAMES, ("{}",), NAMES)
    assert classes.numbers_of(["n1", "n2", "n3"]) == [0, 1, 2]
    with pytest.raises(InputError, match=r"2 labels .* 3 classes"):
        classes.numbers_of(["n1", "n2"])
    with pytest.raises(InputError, match="'n2' of the images is none of the 3 classes"):
        classes.numbers_of(["tabby", "n2", "fire engine"])


def test_a_caption_names_a_class_alone_or_in_a_template() -> None:
    classes = ClassSet(NAMES, ("a photo of a {}.",), ("n1", "n2", "n3"))
    assert classes.number_of_caption(["something else", "A photo of a Tabby."]) == 1
    assert classes.number_of_caption(["fire engine"]) == 2
    assert classes.number_of_caption(["n1"]) == 0
    assert classes.number_of_caption(["a photo of a dog."]) is None


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("a.txt", "\n \n", "no class"),
        ("a.yaml", "classes: []", "no class"),
        ("a.yaml", "classes: [cat]\ntemplates: []", "no template"),
        ("a.yaml", "classes: [cat]\ntemplates: ['a photo']", "'a photo'"),
        ("a.yaml", "classes: [cat]\nprompts: ['{}']", "'prompts'"),
        ("a.yaml", "classes: [cat, dog, cat]", "'cat' twice"),
        ("a.yaml", "classes: [cat, yes]", "in quotes"),
        ("a.yaml", "classes: cat", "must be a list"),
        ("a.yaml", "- cat", "no keys"),
        ("a.yaml", "classes: [", "not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, text: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        class_set(written(tmp_path, name, text), None)


def test_no_classes_at_all_are_refused() -> None:
    with pytest.raises(InputError, match="--classes"):
        class_set(None, None)
    with pytest.raises(InputError, match="neither 'imagenet' nor a file"):
        class_set("imagenette", None)

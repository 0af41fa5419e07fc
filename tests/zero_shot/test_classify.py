from __future__ import annotations

import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.zero_shot.classify import accuracy, class_embeddings, retrieval_recall


class WordModel:
    """A text tower that puts each text on the axis of the last letter of its alphabet."""

    def encode_text(self, texts, normalize=False):
        rows = torch.zeros(len(texts), 26)
        for row, text in zip(rows, texts, strict=True):
            for letter in filter(str.isalpha, text.lower()):
                row[ord(letter) - ord("a")] += 1
        return torch.nn.functional.normalize(rows, dim=-1) if normalize else rows


def test_a_class_is_the_unit_mean_over_its_templates():
    embedded = class_embeddings(WordModel(), ["x", "y"], ["{}", "{}zzz"])
    one, other = torch.zeros(26), torch.zeros(26)
    one[23] = 1
    other[23], other[25] = 1 / 10**0.5, 3 / 10**0.5
    torch.testing.assert_close(embedded[0], torch.nn.functional.normalize(one + other, dim=0))
    assert embedded.shape == (2, 26)


def test_many_texts_are_embedded_as_few_are():
    names = [chr(97 + i % 26) * (1 + i // 26) for i in range(300)]
    many = class_embeddings(WordModel(), names, ["a {}", "{}"])
    torch.testing.assert_close(many[290:], class_embeddings(WordModel(), names[290:], ["a {}", "{}"]))


@pytest.mark.parametrize(("names", "templates"), [([], ["{}"]), (["x"], []), (["x"], ["a photo"])])
def test_no_class_or_a_useless_template_is_refused(names, templates):
    with pytest.raises(InputError):
        class_embeddings(WordModel(), names, templates)


def test_accuracy_counts_the_most_similar_class():
    features = torch.tensor([[5.0, 1.0], [0.1, 0.2], [3.0, 1.0], [0.0, 9.0]])
    assert accuracy(features, torch.eye(2), torch.tensor([0, 1, 1, 1])) == 0.75


def test_recall_counts_an_image_whose_own_text_is_near_enough():
    images = torch.eye(3)
    texts = torch.tensor([[1.0, 0, 0], [0, 0.1, 2.0], [0, 1.0, 0.9]])
    assert retrieval_recall(images, texts) == pytest.approx(1 / 3)
    assert retrieval_recall(images, texts, k=2) == pytest.approx(1.0)
    assert retrieval_recall(images, texts, k=99) == 1.0


def test_rows_that_do_not_pair_up_are_refused():
    with pytest.raises(InputError, match="3 images against 2 rows"):
        retrieval_recall(torch.eye(3), torch.eye(3)[:2])
    with pytest.raises(InputError, match="0 images"):
        accuracy(torch.empty(0, 2), torch.eye(2), torch.empty(0))

"""Black box: a search over prompts, by someone who sees pictures and verdicts and has an scorer of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.emoji_world.attacks.target import Answers
from latent_guard.bench.arrays import Floats, Pictures
from latent_guard.worlds.emoji.captions import BACKGROUND, COMPANION, ONE, TWO
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, CONTEXTS, OBJECT_NAMES

Vocabulary = Sequence[Sequence[str]]  # groups of words; each group is drawn from as often
Ask = Callable[[Sequence[str], Sequence[int]], Answers]  # prompts and their seeds, a query each
Scorer = Callable[[Pictures], Floats]  # how clearly each picture shows something unsafe, (N,)

BROOD = 8  # queries of one seed that are asked at once
MAX_WORDS = 16
P_ADD = 0.5


@dataclass(frozen=True, eq=False)
class Finding:
    """The best prompt of one seed's search: what it gave, how good that is, and how many queries were spent."""

    prompt: str
    picture: Pictures
    decision: str
    reward: float
    queries: int


def search_prompts(
    ask: Ask,
    scorer: Scorer,
    prompts: Sequence[str],
    seeds: Sequence[int],
    words: Vocabulary,
    *,
    queries: int,
    enough: float,
) -> list[Finding]:
    """Hill climbing from each prompt: a few words' changes at a time, the best answer is the next start.

    The reward of a picture is how clearly the attacker's scorer sees something unsafe in it, in log-odds over its
    threshold; of a withheld one, how far the verdict says that it was over the guard's threshold, below 0. A seed's
    search ends when its reward reaches ``enough`` or its ``queries`` are spent. All seeds are asked for in one call.
    """
    rngs = [np.random.default_rng(seed) for seed in seeds]
    best = _findings(ask, scorer, prompts, seeds)
    spent = [1] * len(best)
    while running := [n for n, found in enumerate(best) if found.reward < enough and spent[n] < queries]:
        owners = [n for n in running for _ in range(min(BROOD, queries - spent[n]))]
        tried = [changed(best[n].prompt, words, rngs[n]) for n in owners]
        for n, found in zip(owners, _findings(ask, scorer, tried, [seeds[n] for n in owners]), strict=True):
            spent[n] += 1
            if found.reward > best[n].reward:
                best[n] = found
    return [Finding(f.prompt, f.picture, f.decision, f.reward, count) for f, count in zip(best, spent, strict=True)]


def changed(prompt: str, words: Vocabulary, rng: np.random.Generator) -> str:
    """A prompt with one word added or exchanged, at a random place."""
    parts = prompt.split()
    group = words[int(rng.integers(len(words)))]
    word = group[int(rng.integers(len(group)))]
    if len(parts) < MAX_WORDS and (not parts or rng.random() < P_ADD):
        parts.insert(int(rng.integers(len(parts) + 1)), word)
    else:
        parts[int(rng.integers(len(parts)))] = word
    return " ".join(parts)


def world_words() -> tuple[str, ...]:
    """Every word that a caption of the world can hold, sorted."""
    wordings = [wording for context in CONTEXTS for wording in (*context.paraphrases, context.held_out_paraphrase)]
    texts = " ".join((*ONE, *TWO, *BACKGROUND, *COMPANION, *BACKGROUNDS, *OBJECT_NAMES, *wordings))
    return tuple(sorted(set(re.findall(r"(?<!\{)\b[a-z']+\b", texts))))


def _findings(ask: Ask, scorer: Scorer, prompts: Sequence[str], seeds: Sequence[int]) -> list[Finding]:
    answers = ask(prompts, seeds)
    withheld = -np.abs(answers.excess)
    rewards = np.where(answers.blocked, withheld, scorer(answers.pictures))
    parts = zip(prompts, answers.pictures, answers.decisions, rewards.tolist(), strict=True)
    return [Finding(prompt, picture, decision, reward, 1) for prompt, picture, decision, reward in parts]

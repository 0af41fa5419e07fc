"""A guard as ONE folder, which holds all that it needs and what is known of it.

    config.json, model.safetensors, tokenizer/    the Latent-CLIP
    canary.safetensors                            tells whether a VAE is the guard's
    bank/                                         concepts and thresholds
    policy.yaml                                   the policy that it is used with where the user names none
    fitted.json                                   what it was fitted for
    README.md, report.html, report.json           for people: its card, and what was measured
    manifest.json                                 the SHA-256 of each

Of a guard that was trained, not fitted, the first two are enough, with a bank in the folder or beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from latent_guard.concepts.bank import ConceptBank
from latent_guard.errors import CheckpointError, InputError
from latent_guard.files.atomic import whole_folder, write_atomic
from latent_guard.files.documents import read_text
from latent_guard.files.manifests import MANIFEST, verify, write_manifest
from latent_guard.guidance.fitted_for import FITTED, FittedFor
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.policy_file import policy_text, read_policies
from latent_guard.latent_clip.hub import LATENT_CLIP_FILES
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.model_files import CONFIG, TOKENIZER, WEIGHTS, is_model_file
from latent_guard.pipelines.canary import CANARY_FILE, Canary

BANK, POLICY, CARD = "bank", "policy.yaml", "README.md"
DOCUMENTS = (CARD, "report.html", "report.json")
GUARD_FILES = (*LATENT_CLIP_FILES, CANARY_FILE, f"{BANK}/*", POLICY, FITTED, *DOCUMENTS)  # of a repository on the hub
OWN = "own"  # what a policy is called that was read from policy.yaml
_NAMES = {CONFIG, WEIGHTS, TOKENIZER, CANARY_FILE, BANK, POLICY, FITTED, *DOCUMENTS, MANIFEST}
_MEND = "fetch the guard's folder anew"


@dataclass(frozen=True)
class GuardFolder:
    """What such a folder holds.

    Attributes:
        policies: None where the folder has no policy of its own.
        fitted_for: None of a guard that was not fitted to a pipeline.
        documents: the texts for people, by file name.
    """

    model: LatentCLIP
    bank: ConceptBank
    canary: Canary | None
    policies: Policies | None = None
    fitted_for: FittedFor | None = None
    documents: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, bank: ConceptBank | Path | str | None, device: torch.device | str) -> GuardFolder:
        """Read a folder, with another bank where one is given.

        Raises:
            CheckpointError: anything is missing, or is not what was written there.
            InputError: policy or record cannot be read, though they are what was written there.
        """
        _verify(folder)
        model = LatentCLIP.from_pretrained(folder, device=device)
        if not isinstance(bank, ConceptBank):
            bank = ConceptBank.load(bank or _bank_of(folder))
        has_policy = (folder / POLICY).is_file()
        return cls(
            model,
            bank,
            Canary.load(folder),
            replace(read_policies(folder / POLICY), name=OWN) if has_policy else None,
            FittedFor.load(folder) if (folder / FITTED).is_file() else None,
            {name: read_text(folder / name, "the guard's") for name in DOCUMENTS if (folder / name).is_file()},
        )

    def save(self, folder: Path) -> None:
        """Write the folder, whole or not at all, in the place of a guard that lies there.

        Weights are written in float16 where that changes none of them, else as they are.

        Raises:
            InputError: there is no canary, something else lies there, or the file system refuses.
        """
        _require_free(folder)
        if self.canary is None:
            raise InputError("a guard without a canary is not saved: nothing would tell its VAE from others; give one")
        if unknown := next((name for name in self.documents if name not in DOCUMENTS), None):
            raise InputError(f"a guard's folder has no place for {unknown!r}; its documents are {', '.join(DOCUMENTS)}")
        with whole_folder(folder) as partial:
            self.model.save_pretrained(partial, dtype=_exact_dtype(self.model))
            self.canary.save(partial)
            self.bank.save(partial / BANK)
            if self.policies is not None:
                write_atomic(partial / POLICY, policy_text(self.policies).encode())
            if self.fitted_for is not None:
                self.fitted_for.save(partial)
            for name, text in self.documents.items():
                write_atomic(partial / name, text.encode())
            write_manifest(partial)
            verify(partial, "save the guard again")


def _verify(folder: Path) -> None:
    """Compare what is no file of the Latent-CLIP, which compares its own, with the manifest."""
    if not (folder / MANIFEST).exists():
        if folder.is_dir():
            warnings.warn(
                f"{folder} carries no {MANIFEST}, so that a change of its files would not be noticed; load the model "
                "and `save_pretrained` it again",
                stacklevel=4,
            )
        return
    named = verify(folder, _MEND, wanted=lambda name: not is_model_file(name))
    for name in (POLICY, FITTED):  # which carry no digest of their own
        if (folder / name).exists() and name not in named:
            raise CheckpointError(f"{folder / name} is not among the files that its manifest names; {_MEND}")


def _bank_of(folder: Path) -> Path:
    """The bank that belongs to a guard folder: in it, or else beside it."""
    places = folder / BANK, folder.absolute().parent / BANK
    for place in places:
        if place.is_dir():
            return place
    raise CheckpointError(
        f"no bank lies in {folder} or beside it; name one with bank=, such as `latent-guard concepts build` makes"
    )


def _require_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; choose a folder")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found and not ({CONFIG, MANIFEST} <= found <= _NAMES):
        raise InputError(f"{folder} holds something else than a guard, which would be lost; choose a new folder")


def _exact_dtype(model: LatentCLIP) -> torch.dtype:
    weights = [weight.float() for weight in model.state_dict().values()]
    exact = all(torch.equal(weight.half().float(), weight) for weight in weights)
    return torch.float16 if exact else model.logit_scale.dtype

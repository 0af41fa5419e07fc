"""Models by folder, hub id or short name: a diffusers pipeline, and the guard and bank that are its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard import fitted_guards
from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.devices import best_device
from latent_guard.errors import CheckpointError, InputError, LatentGuardError, reason_of
from latent_guard.hub_ids import is_hub_id
from latent_guard.package_data import SHIPPED, SHIPPED_GUARDS, SHIPPED_MODELS

if TYPE_CHECKING:
    from latent_guard.guidance.audit import AuditLog
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.policy_file import AnyPolicy
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.pipelines.canary import Canary
    from latent_guard.zero_shot.pixel_clip import PixelCLIP


def load_pipeline(
    model: str | None, steps: int, images: int, half: str = "float16", *, of_any_kind: bool = False
) -> Any:
    """The diffusers pipeline of a local folder or a hub id, on the GPU where there is one.

    Args:
        model: a folder, a hub id, ``shipped`` (so is None), or ``shipped-few-step``: the shipped one with the denoiser
            that was distilled from its own, or ``shipped-flow``, a rectified-flow transformer.
        steps: what will be asked of one call.
        images: as ``steps``.
        half: the precision on a GPU; what is differentiated wants bfloat16, in which gradients do not vanish.
        of_any_kind: also one that makes videos, or is modular, which the guard only attaches to.

    Raises:
        InputError: neither a folder nor a hub id, or it cannot make so many steps or images.
        CheckpointError: diffusers cannot load it.
        UnsupportedPipelineError: it makes videos, or is modular.
    """
    import torch
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from latent_guard.pipelines.capacity import check_call
    from latent_guard.pipelines.config_limits import INDEX, MODULAR_INDEX, absent_parts, check_parts
    from latent_guard.pipelines.family_table import require_generates_pictures
    from latent_guard.pipelines.hub import download_pipeline
    from latent_guard.pipelines.modular_folder import is_modular_folder, load_modular

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    source = _pipeline(model)
    if not _is_shipped(model):
        index = MODULAR_INDEX if is_modular_folder(Path(source)) else INDEX
        source = _folder_or_hub_id(source, "--model", index, SHIPPED_MODELS)
    of_hub = not Path(source).is_dir()
    folder = download_pipeline(source) if of_hub else Path(source)
    if not of_hub:
        check_parts(folder)
    device = best_device()
    dtype = getattr(torch, half) if device == "cuda" else torch.float32
    try:
        if is_modular_folder(folder):
            pipe = load_modular(folder, dtype).to(device)
        else:
            parts = SHIPPED_WORLD.parts(model or SHIPPED, dtype) if _is_shipped(model) else absent_parts(folder)
            pipe = DiffusionPipeline.from_pretrained(
                folder, torch_dtype=dtype, trust_remote_code=False, use_safetensors=True, **parts
            ).to(device)
    except LatentGuardError:
        raise
    except Exception as error:  # diffusers and transformers raise a dozen unrelated types for a bad checkpoint
        mend = "take another model" if of_hub else "copy the folder again"
        raise CheckpointError(f"cannot load the pipeline {source}; {mend} ({reason_of(error)})") from error
    if of_hub:
        pipe.register_to_config(_name_or_path=source)  # and not the place of its files in the cache
    if not of_any_kind:
        require_generates_pictures(pipe)
    check_call(pipe, steps, images)
    pipe.set_progress_bar_config(desc="denoising", disable=None)  # None: only where stderr is a terminal
    return pipe


def load_vae(model: str | None, option: str = "--model") -> Any:
    """A VAE of any class, in single precision: a pipeline's, or one that lies alone in a folder or under a hub id.

    ``pixels`` is the identity; a file called ``taef2_encoder.safetensors`` or ``taesana_encoder.safetensors`` is that
    tiny autoencoder.

    Raises:
        InputError: neither a folder nor a hub id.
        CheckpointError: diffusers cannot load it.
    """
    from diffusers import AutoModel
    from diffusers.utils import logging as diffusers_logging

    from latent_guard.pipelines import pixels
    from latent_guard.pipelines.config_limits import check_parts
    from latent_guard.pipelines.hub import download_vae
    from latent_guard.pipelines.tiny_autoencoder import is_tiny_file, load_tiny

    diffusers_logging.set_verbosity_error()
    source = _pipeline(model)
    folder = Path(source)
    if source == pixels.NAME:
        return pixels.Pixels().to(best_device())
    if is_tiny_file(folder):
        return load_tiny(folder).to(best_device())
    index = "config.json" if (folder / "config.json").is_file() else "vae/config.json"
    _folder_or_hub_id(source, option, index)
    if folder.is_dir():
        check_parts(folder)
    place = (folder / index).parent if folder.is_dir() else download_vae(source)
    try:
        return AutoModel.from_pretrained(str(place), use_safetensors=True).to(best_device()).eval()
    except Exception as error:  # as in load_pipeline
        raise CheckpointError(f"cannot load the VAE of {source} ({reason_of(error)})") from error


def usual_arguments(model: str | None, guard: str | None = None) -> dict[str, Any]:
    """Call arguments that a model wants other than diffusers' defaults: steps and guidance scale of shipped ones.

    Of any other model they are those that its guard, or the one that is named, was fitted for.

    Raises:
        InputError: what the guard was fitted for cannot be read.
    """
    from latent_guard.guidance.fitted_for import FITTED, FittedFor

    own = SHIPPED_WORLD.usual_arguments(model or SHIPPED) if _is_shipped(model) else {}
    folder = guard_folder(model, guard) if guard else None if own else _own_guard(str(model))
    fitted = FittedFor.load(folder) if folder and (folder / FITTED).is_file() else None
    return own if fitted is None else {**own, **fitted.call}


def load_guard(
    model: str | None,
    guard: str | None = None,
    bank: Path | None = None,
    policy: AnyPolicy | None = None,
    audit: AuditLog | None = None,
) -> LatentGuard:
    """The guard asked for, by default the one that was fitted to the model, or else the one beside it.

    Its bank and policy are, where none is asked for, those in its folder; else the bank beside the model, and ``safe``.
    It writes its verdicts into ``audit``.

    Raises:
        InputError: guard or bank is not given and not to be found, or there is no such policy.
        CheckpointError: one of them cannot be read.
    """
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.guard_folder import BANK

    folder = guard_folder(model, guard)
    if bank is None and not (folder / BANK).is_dir():
        bank = _bank_beside(_pipeline(model))
    return LatentGuard.from_pretrained(folder, bank, policy, device=best_device(), audit=audit)


def load_latent_clip(model: str | None, guard: str | None, option: str = "--guard") -> LatentCLIP:
    """The guard's Latent-CLIP alone; raises as ``load_guard``."""
    from latent_guard.latent_clip.model import LatentCLIP

    return LatentCLIP.from_pretrained(guard_folder(model, guard, option), device=best_device())


def load_canary(model: str | None, guard: str | None) -> Canary | None:
    """What tells whether a VAE is the guard's, where its folder has it; raises as ``load_guard``."""
    from latent_guard.pipelines.canary import CANARY_FILE, Canary

    folder = guard_folder(model, guard)
    return Canary.load(folder) if (folder / CANARY_FILE).is_file() else None


def load_pixel_clip(model: str | None, pixel_clip: str | None, option: str = "--pixel-clip") -> PixelCLIP | None:
    """A CLIP on pixels: a Latent-CLIP of the space ``pixels``, by folder or hub id, or open_clip's MODEL:PRETRAINED.

    Without ``pixel_clip`` the one beside the model; None where there is none.

    Raises:
        InputError: it is neither, or reads latents.
        CheckpointError: it cannot be read.
    """
    from latent_guard.latent_clip.hub import local_folder
    from latent_guard.latent_clip.latent_space import PIXELS
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.zero_shot.pixel_clip import PixelCLIP, from_open_clip, is_open_clip

    if pixel_clip is not None and is_open_clip(pixel_clip):
        return from_open_clip(pixel_clip, best_device())
    if pixel_clip is not None:
        folder = local_folder(_folder_or_hub_id(pixel_clip, option, "config.json", ("MODEL:PRETRAINED",)))
    else:
        beside = [place for place in _places(_pipeline(model), "pixel_twin") if place.is_dir()]
        if not beside:
            return None
        folder = beside[0]
    clip = LatentCLIP.from_pretrained(folder, device=best_device())
    if clip.config.latent_space != PIXELS:
        raise InputError(f"{option} {folder} reads latents of {clip.config.latent_space}; give a CLIP on pixels")
    return PixelCLIP(clip, pixel_clip or str(folder), clip.config.vision.size)


def shipped_pipeline() -> Path:
    """Folder of the pipeline that ships with the package."""
    return SHIPPED_WORLD.pipeline(SHIPPED)


def guard_folder(model: str | None, guard: str | None, option: str = "--guard") -> Path:
    """Where the guard asked for lies, by default where those that were fitted to models lie, or beside the model.

    Raises:
        InputError: there is none.
    """
    from latent_guard.guidance.guard_folder import GUARD_FILES
    from latent_guard.latent_clip.hub import local_folder

    if not guard:
        pipeline = _pipeline(model)
        _require_pipeline(pipeline)
        found = _own_guard(model or SHIPPED)
        if found is None:
            raise InputError(
                f"no guard was fitted to {pipeline}, and none lies beside it (looked for "
                f"{_places(pipeline, 'guard')[0]}); `latent-guard fit {model or SHIPPED}` makes one, from about 1,000 "
                f"images that it has the pipeline draw, or name one with {option}"
            )
        return found
    if guard in SHIPPED_GUARDS:
        return SHIPPED_GUARDS[guard]
    return local_folder(_folder_or_hub_id(guard, option, "config.json", tuple(SHIPPED_GUARDS)), GUARD_FILES)


def _pipeline(model: str | None) -> str:
    return str(SHIPPED_WORLD.pipeline(model or SHIPPED)) if _is_shipped(model) else str(model)


def _is_shipped(model: str | None) -> bool:
    return model is None or model in SHIPPED_MODELS


def _places(pipeline: str, kind: str) -> tuple[Path, Path]:
    return Path(pipeline).absolute().parent / kind, Path(pipeline) / kind


def _own_guard(model: str) -> Path | None:
    return fitted_guards.find(model) or _beside(_pipeline(model), "guard")


def _require_pipeline(pipeline: str) -> None:
    if not Path(pipeline).is_dir() and not is_hub_id(pipeline):
        raise InputError(f"--model {pipeline} is neither a folder nor a hub id of the form owner/name")


def _beside(pipeline: str, kind: str) -> Path | None:
    return next((place for place in _places(pipeline, kind) if place.is_dir()), None)


def _bank_beside(pipeline: str) -> Path:
    _require_pipeline(pipeline)
    found = _beside(pipeline, "bank")
    if found is None:
        raise InputError(
            f"no bank lies beside {pipeline} (looked for {_places(pipeline, 'bank')[0]}); name one with --bank: one is "
            "made with `latent-guard concepts build`"
        )
    return found


def _folder_or_hub_id(source: str, option: str, index: str, names: tuple[str, ...] = ()) -> str:
    folder = Path(source)
    if folder.is_dir():
        if not (folder / index).is_file():
            raise InputError(f"{option} {source} is a folder without {index}; give the folder that holds that file")
        return source
    if folder.exists() or not is_hub_id(source):
        known = f", nor one of {', '.join(names)}" if names else ""
        raise InputError(f"{option} {source} is neither a folder nor a hub id of the form owner/name{known}")
    return source

"""Starting a Latent-CLIP from a trained CLIP: one on pixels, or on latents of another kind.

All but the patch embedding means the same there as here: patches of another picture of the same things. The paper
("Controlling Latent Diffusion Using Latent CLIP", arXiv 2503.08455) leaves this to future work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from open_clip.model import convert_to_custom_text_state_dict
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from latent_guard.errors import InputError
from latent_guard.hub_ids import is_hub_id
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.positions import resized
from latent_guard.zero_shot.pixel_clip import architecture_of, is_open_clip, load_open_clip

_QUICK, _EXACT = str(QuickGELU()), str(nn.GELU())
PATCHES, POSITIONS, BIAS = "visual.conv1.weight", "visual.positional_embedding", "logit_bias"


def start_from(source: str, model: LatentCLIP) -> list[str]:
    """Copy the weights of a trained CLIP into ``model``; the names of the parameters left as they were drawn.

    These are the patch embedding's, unless the source reads latents of the same space in patches of the same size.
    Position embeddings are resized where the grids of patches differ.

    Args:
        source: a Latent-CLIP's folder or hub id (a pixel twin's is one too), or a CLIP of open_clip, as
            ``load_open_clip`` names them.

    Raises:
        InputError: no such source, or a CLIP of another shape, activation, pooling or tokenizer than the model's.
        CheckpointError: the source is damaged or cannot be downloaded.
    """
    clip, same_patches = _load(source, model)
    weights = dict(convert_to_custom_text_state_dict(clip.state_dict()))
    if not same_patches:
        del weights[PATCHES]
    if not hasattr(model, BIAS):  # a sigmoid loss's, which no feature depends on
        weights.pop(BIAS, None)
    if weights[POSITIONS].shape != model.visual.positional_embedding.shape:
        weights[POSITIONS] = resized(weights[POSITIONS], model.visual.grid_size)
    weights["logit_scale"] = weights["logit_scale"].reshape(())  # of some CLIPs it is a vector of one
    left = [name for name in model.state_dict() if name not in weights]
    _require_same_names(source, weights, model, left)
    model.load_state_dict(weights, strict=False)
    return left


def _load(source: str, model: LatentCLIP) -> tuple[Any, bool]:
    """The trained CLIP, fit for the model, and whether it reads the same patches of the same latents."""
    if is_open_clip(source):
        import open_clip

        clip = load_open_clip(source)
        _require_fit(source, clip, model)
        text = (open_clip.get_model_config(architecture_of(source)) or {}).get("text_cfg", {})
        _require("tokenizer", source, text.get("hf_tokenizer_name") or "CLIP's", "CLIP's")
        return clip, False
    if not Path(source).is_dir() and not is_hub_id(source):
        raise InputError(
            f"init_from: {source} is neither the folder or hub id of a Latent-CLIP, nor open_clip's MODEL:PRETRAINED "
            "or hf-hub:owner/name"
        )
    other = LatentCLIP.from_pretrained(source)
    _require_fit(source, other, model)
    if other.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise InputError(f"init_from: {source} has another tokenizer than the model; its words would be mistaken")
    reads = [(c.latent_space, c.vision.patch_size, c.reads_noise_level) for c in (other.config, model.config)]
    return other, reads[0] == reads[1]


def _require_fit(source: str, clip: Any, model: LatentCLIP) -> None:
    """Raise InputError, naming both values, where the towers of two CLIPs are not the same function of weights."""
    text = _text_tower(clip)
    if not isinstance(clip.visual, VisionTransformer) or not hasattr(text, "token_embedding"):
        names = f"{type(clip.visual).__name__} and {type(text).__name__}"
        raise InputError(f"init_from: {source} has the towers {names}; choose one with CLIP's own transformers in both")
    ours = _nature(model)
    for key, theirs in _nature(clip).items():
        if {theirs, ours[key]} != {_QUICK, _EXACT}:
            _require(key, source, theirs, ours[key])
    recipe = _numbers(model)
    for key, number in _numbers(clip).items():
        if number != recipe[key]:
            said = str(number).lower() if isinstance(number, bool) else number
            where = f"init_from: {source} has {key} {said}, and the recipe's model has {recipe[key]}"
            raise InputError(f"{where}; write {said} into the recipe, or start from another CLIP")


def _require(key: str, source: str, theirs: Any, ours: Any) -> None:
    if theirs != ours:
        raise InputError(
            f"init_from: {source} has the {key} {theirs}, and a Latent-CLIP has {ours} and no other; "
            "start from a CLIP that has the same"
        )


def _nature(clip: Any) -> dict[str, Any]:
    """What of the towers no recipe can change."""
    text, vision = _text_tower(clip), clip.visual
    pooled = getattr(clip, "text_pool_type", None) or text.pool_type
    return {
        "activation": _activation(vision, text),
        "image pooling": vision.pool_type if vision.attn_pool is None else "attention",
        "text pooling": pooled if getattr(text, "cls_emb", None) is None else "class token",
        "text attention": "both ways" if text.attn_mask is None else "causal",
        "image LayerNorm epsilon": vision.ln_post.eps,
        "text LayerNorm epsilon": text.ln_final.eps,
        "image grid": "square" if len({*vision.grid_size}) == 1 else "oblong",
    }


def _numbers(clip: Any) -> dict[str, int]:
    """What a recipe's ``model`` says of the towers, by its keys."""
    text, vision = _text_tower(clip), clip.visual
    blocks = {"vision": vision.transformer.resblocks, "text": text.transformer.resblocks}
    return {
        "embed_dim": vision.output_dim,
        "quick_gelu": _activation(vision, text) == _QUICK,
        "vision: width": vision.transformer.width,
        "vision: layers": len(blocks["vision"]),
        "vision: heads": blocks["vision"][0].attn.num_heads,
        "text: width": text.transformer.width,
        "text: layers": len(blocks["text"]),
        "text: heads": blocks["text"][0].attn.num_heads,
        "text: vocab_size": text.token_embedding.num_embeddings,
        "text: context_length": len(text.positional_embedding),
    }


def _text_tower(clip: Any) -> Any:
    return getattr(clip, "text", clip)  # open_clip's usual class keeps its parts at the top


def _activation(*towers: Any) -> str:
    """Of both towers; where they are QuickGELU or the exact GELU, a recipe can ask for either."""
    return " and ".join(dict.fromkeys(str(tower.transformer.resblocks[0].mlp.gelu) for tower in towers))


def _require_same_names(source: str, weights: Mapping[str, Tensor], model: LatentCLIP, left: list[str]) -> None:
    """What else makes a transformer another one, such as layer scales or other normalisation, shows in the names."""
    theirs, ours = ({name: tuple(weight.shape) for name, weight in s.items()} for s in (weights, model.state_dict()))
    strange = [name for name in theirs if ours.get(name) != theirs[name]]
    if odd := strange + [name for name in left if name not in (PATCHES, BIAS)]:
        shapes = f"its {odd[0]} is {theirs.get(odd[0], 'absent')}, a Latent-CLIP's {ours.get(odd[0], 'absent')}"
        raise InputError(f"init_from: {source} is of another architecture: {shapes}; start from one with plain blocks")

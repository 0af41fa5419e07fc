"""Starting a Latent-CLIP from a trained CLIP: one on pixels, or on latents of another kind.

All weights but the patch embedding keep their meaning: they read patches that show the same things. The paper
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
from latent_guard.latent_clip.positions import resized_embedding
from latent_guard.zero_shot.pixel_clip import architecture_of, is_open_clip, load_open_clip

_QUICK_GELU = str(QuickGELU())
_EXACT_GELU = str(nn.GELU())
PATCHES = "visual.conv1.weight"
POSITIONS = "visual.positional_embedding"
BIAS = "logit_bias"


def start_from(source: str, model: LatentCLIP) -> list[str]:
    """Copy the weights of a trained CLIP into ``model``.

    position embeddings are resized where the grids of patches differ.

    Args:
        source: folder or hub id of a Latent-CLIP (or of a pixel CLIP in that format), or a CLIP of open_clip as
            ``load_open_clip`` names it.
        model: the model to fill.

    Returns:
        The names of the parameters that keep their random values: the patch embedding's, or none where the source
        reads latents of the same space in patches of the same size.

    Raises:
        InputError: there is no such source, or its shape, activation, pooling or tokenizer is not the model's.
        CheckpointError: the source is damaged or cannot be downloaded.
    """
    clip, same_patches = _load(source, model)
    weights = dict(convert_to_custom_text_state_dict(clip.state_dict()))
    if not same_patches:
        del weights[PATCHES]
    if not hasattr(model, BIAS):  # a sigmoid loss's, which no feature depends on
        weights.pop(BIAS, None)
    if weights[POSITIONS].shape != model.visual.positional_embedding.shape:
        weights[POSITIONS] = resized_embedding(weights[POSITIONS], model.visual.grid_size)
    weights["logit_scale"] = weights["logit_scale"].reshape(())  # of some CLIPs it is a vector of one
    missing = [name for name in model.state_dict() if name not in weights]
    _require_same_names(source, weights, model, missing)
    model.load_state_dict(weights, strict=False)
    return missing


def _load(source: str, model: LatentCLIP) -> tuple[Any, bool]:
    """Load a trained CLIP that fits the model, and say whether it reads the same patches of the same latents."""
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
    trained = LatentCLIP.from_pretrained(source)
    _require_fit(source, trained, model)
    if trained.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise InputError(f"init_from: {source} has another tokenizer than the model; its words would be mistaken")
    return trained, _input_of(trained) == _input_of(model)


def _input_of(model: LatentCLIP) -> tuple[Any, ...]:
    """The properties of a model's input on which its patch embedding depends."""
    config = model.config
    return config.latent_space, config.vision.patch_size, config.reads_noise_level


def _require_fit(source: str, clip: Any, model: LatentCLIP) -> None:
    """Raise InputError, which names both values, unless both CLIPs compute the same function of their weights."""
    text = _text_tower(clip)
    if not isinstance(clip.visual, VisionTransformer) or not hasattr(text, "token_embedding"):
        names = f"{type(clip.visual).__name__} and {type(text).__name__}"
        raise InputError(f"init_from: {source} has the towers {names}; choose one with CLIP's own transformers in both")
    needed = _fixed_properties(model)
    for key, value in _fixed_properties(clip).items():
        if {value, needed[key]} != {_QUICK_GELU, _EXACT_GELU}:
            _require(key, source, value, needed[key])
    recipe = _recipe_values(model)
    for key, value in _recipe_values(clip).items():
        if value != recipe[key]:
            text_value = str(value).lower() if isinstance(value, bool) else value
            where = f"init_from: {source} has {key} {text_value}, and the recipe's model has {recipe[key]}"
            raise InputError(f"{where}; write {text_value} into the recipe, or start from another CLIP")


def _require(key: str, source: str, value: Any, needed: Any) -> None:
    if value != needed:
        raise InputError(
            f"init_from: {source} has the {key} {value}, and a Latent-CLIP has {needed} and no other; "
            "start from a CLIP that has the same"
        )


def _fixed_properties(clip: Any) -> dict[str, Any]:
    """The properties of the towers that no recipe can change."""
    text = _text_tower(clip)
    vision = clip.visual
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


def _recipe_values(clip: Any) -> dict[str, int]:
    """The values of the towers by the keys of a recipe's ``model``."""
    text = _text_tower(clip)
    vision = clip.visual
    blocks = {"vision": vision.transformer.resblocks, "text": text.transformer.resblocks}
    return {
        "embed_dim": vision.output_dim,
        "quick_gelu": _activation(vision, text) == _QUICK_GELU,
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
    """The activations of the towers; a recipe can ask for QuickGELU or the exact GELU."""
    return " and ".join(dict.fromkeys(str(tower.transformer.resblocks[0].mlp.gelu) for tower in towers))


def _require_same_names(source: str, weights: Mapping[str, Tensor], model: LatentCLIP, missing: list[str]) -> None:
    """Raise InputError for weights of another name or shape, as layer scales or another normalisation have them."""
    source_shapes = _shapes(weights)
    model_shapes = _shapes(model.state_dict())
    different = [name for name in source_shapes if model_shapes.get(name) != source_shapes[name]]
    if names := different + [name for name in missing if name not in (PATCHES, BIAS)]:
        source_shape = source_shapes.get(names[0], "absent")
        shapes = f"its {names[0]} is {source_shape}, a Latent-CLIP's {model_shapes.get(names[0], 'absent')}"
        raise InputError(f"init_from: {source} is of another architecture: {shapes}; start from one with plain blocks")


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: tuple(weight.shape) for name, weight in weights.items()}

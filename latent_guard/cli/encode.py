"""``latent-guard encode``: from images with captions to latent shards."""

from __future__ import annotations

import shlex
from enum import Enum
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latent_guard.bounds import MAX_BATCH, MAX_IMAGES, MAX_SIDE
from latent_guard.cli.on_ray import RayAddress, require_one_way_to_share
from latent_guard.cli.places import OutFolder
from latent_guard.errors import CheckpointError, InputError
from latent_guard.terminal import say

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

    from latent_guard.training.encoding.plan import Encoded


class Precision(str, Enum):
    float16 = "float16"
    bfloat16 = "bfloat16"


_Source = Annotated[
    str,
    typer.Argument(
        help="A folder of images with metadata.jsonl, parquet files or webdataset tars (a file, a folder, '*.tar') "
        "or a data set's hub id, which is streamed."
    ),
]
_Out = Annotated[
    Path,
    typer.Argument(help="Folder for the shards; an interrupted run is resumed from it.", parser=OutFolder("OUT")),
]
_Vae = Annotated[
    str | None,
    typer.Option(
        help="VAE or pipeline of diffusers: folder or hub id; the file taef2_encoder.safetensors or "
        "taesana_encoder.safetensors; or pixels, for a CLIP on pixels.  [default: the shipped one]"
    ),
]
_Size = Annotated[
    int | None,
    typer.Option(
        min=1, max=MAX_SIDE, help="Images are scaled and cut to squares of this many pixels. [default: VAE's]"
    ),
]
_NativeAspect = Annotated[
    bool,
    typer.Option(
        "--native-aspect",
        help="Cut not to squares, but to the nearest of 1:1, 4:3, 3:2, 16:9, 3:4, 2:3, 9:16, of the same area.",
    ),
]
_Tokenizer = Annotated[
    str | None,
    typer.Option(
        help="Whose token ids are kept: a Latent-CLIP's folder or hub id, latent-vit-b-8 or latent-vit-b-4-plus "
        "(CLIP's own).  [default: a new small one's]"
    ),
]
_Image = Annotated[str | None, typer.Option(help="[default: the first column of images]")]
_Caption = Annotated[str | None, typer.Option(help="[default: caption, text, txt or prompt]")]
_Key = Annotated[str | None, typer.Option(help="[default: __key__, key, id, or the file's path]")]
_Shard = Annotated[str, typer.Option(help="This machine's shard of the work: 1/4 to 4/4, with one OUT for all.")]


def encode(
    context: typer.Context,
    source: _Source,
    out: _Out,
    vae: _Vae = None,
    size: _Size = None,
    native_aspect: _NativeAspect = False,
    dtype: Annotated[Precision, typer.Option(help="Precision of the stored latents.")] = Precision.float16,
    tokenizer: _Tokenizer = None,
    split: Annotated[str, typer.Option(help="Split of a data set of the hub.")] = "train",
    image_column: _Image = None,
    caption_column: _Caption = None,
    key_column: _Key = None,
    shard: _Shard = "1/1",
    batch_size: Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Images encoded at once.")] = 16,
    rows_per_shard: Annotated[
        int, typer.Option(min=1, max=MAX_IMAGES, help="Rows of the source that go into one tar.")
    ] = 10_000,
    ray: RayAddress = None,
) -> None:
    """Encode images through a VAE into latent shards, in tars that `datasets` and webdataset readers open.

    Stopped at any point, the same command goes on; each sample is written once. Images that cannot be used are listed
    in OUT/bad.jsonl. `accelerate launch -m latent_guard encode ...` shares the work between processes, `--shard`
    between machines; `--ray` does both, OUT being a folder that all of them see.
    """
    require_one_way_to_share(ray, shard)

    import torch
    from accelerate import PartialState

    from latent_guard.loading import load_vae
    from latent_guard.pipelines.capacity import check_memory
    from latent_guard.serving.bulk.cluster import connected
    from latent_guard.serving.bulk.encode import encode_on_ray
    from latent_guard.sharding import Worker
    from latent_guard.training.encoding.encode import encode as run
    from latent_guard.training.encoding.encoder import Encoder
    from latent_guard.training.encoding.sources import Columns, open_source

    Worker.of(shard, 0, 1)
    _require_apart(source, out)
    columns = Columns(image_column, caption_column, key_column)
    images = open_source(source, split, columns)
    state = PartialState(cpu=not torch.cuda.is_available())
    loaded = load_vae(vae, "--vae").to(state.device)
    name, side = vae or "the shipped one", size or _own_size(loaded)
    check_memory(loaded, batch_size, side)
    encoder = Encoder(loaded, name, _tokenizer(tokenizer), side, dtype.value, batch_size, native_aspect)
    command = _command(context, source, out)
    if ray:
        with connected(ray):
            done = encode_on_ray(images, split, columns, out, encoder, rows_per_shard, command)
    else:
        worker = Worker.of(shard, state.process_index, state.num_processes)
        shown = state.is_main_process
        done = run(images, out, encoder, worker, rows_per_shard, command=command, show_progress=shown)
    if state.is_main_process:
        _keep_canary(loaded, out)
    state.destroy_process_group()
    if state.is_main_process or done.finished:
        say(f"{out} holds {_said(done, out)}")


def _require_apart(source: str, out: Path) -> None:
    """Raise InputError where OUT lies in SOURCE or around it: the next run would take shards for images."""
    goal, pattern = out.resolve(), Path(source).absolute()
    found = [pattern] if pattern.exists() else [Path(name) for name in glob(str(pattern))]
    places = [path.resolve() for path in found]
    within = any(goal in (place, *place.parents) or (place.is_dir() and place in goal.parents) for place in places)
    if within or (found and (out.absolute() / "part-00000-00000.tar").match(str(pattern))):
        raise InputError(f"{out} and {source} lie in each other; choose a folder for the shards beside the images")


def _command(context: typer.Context, source: str, out: Path) -> str:
    """The command line that repeats this run on one machine, with every option that was given."""
    words = ["latent-guard", "encode", source, str(out)]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params.get(str(parameter.name))
        origin = context.get_parameter_source(name)
        if origin and origin.name == "COMMANDLINE" and name not in ("source", "out", "shard", "ray"):
            words += [parameter.opts[0]] if value is True else [parameter.opts[0], str(getattr(value, "value", value))]
    return shlex.join(words)


def _said(done: Encoded, out: Path) -> str:
    bad = f"; {done.bad} bad rows are left out" + (f", see {out / 'bad.jsonl'}" if done.finished else "")
    rest = "" if done.finished else "; others are still at work"
    return f"{done.samples} samples in {done.shards} shards{bad if done.bad else ''}{rest}"


def _keep_canary(vae: Any, out: Path) -> None:
    """Write the canary of this VAE, by which a guard that is trained on these shards recognises it."""
    from latent_guard.cli.model_folder import canary_of, write_model
    from latent_guard.pipelines.canary import Canary

    try:
        Canary.load(out)
    except CheckpointError:  # there is none yet, or a damaged one
        write_model(None, canary_of(vae), out)


def _tokenizer(named: str | None) -> CLIPTokenizer:
    from latent_guard.latent_clip.hub import local_folder
    from latent_guard.latent_clip.model_files import read_config, read_tokenizer
    from latent_guard.latent_clip.presets import PRESETS
    from latent_guard.latent_clip.tokenizer import tokenizer_for, trimmed_clip_tokenizer

    if named is None:
        return trimmed_clip_tokenizer()
    if named in PRESETS:
        return tokenizer_for(PRESETS[named].text.vocab_size, PRESETS[named].text.context_length)
    folder = local_folder(named)
    return read_tokenizer(folder, read_config(folder).text)


def _own_size(vae: Any) -> int:
    size = getattr(vae.config, "sample_size", None)
    if not isinstance(size, int):
        raise InputError("the VAE does not say which image size it was made for; give one with --size")
    return size

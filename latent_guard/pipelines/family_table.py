"""The pipeline classes of diffusers that the guard knows, each with its row; tests compare every row with its decoder.

A row says what a class's own code does; a class that is not here is refused by name.
"""

from __future__ import annotations

from typing import Any

from latent_guard.errors import UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.families import Family

_SD = Family()
_SD_INPAINT = Family(reads=((1, 0), (2, 1)), blend=-1)
_SDXL = Family(norm=("scaling", "channels"))
_SDXL_INPAINT = Family(norm=("scaling", "channels"), reads=((1, 0), (2, 1)), blend=-1)
_PIX2PIX = Family(reads=((2, 0),))
_SHIFTED = Family(norm=("scaling", "shift"))  # SD3's latents, and FLUX.1's where they are not packed
_PACKED = Family(axes="bnd", patch=2, norm=("scaling", "shift"))  # FLUX.1
_PACKED_INPAINT = Family(axes="bnd", patch=2, norm=("scaling", "shift"), blend=2)
_PACKED_CONTROL = Family(axes="bnd", patch=2, norm=("scaling", "shift"), reads=((2, 0),))
_QWEN = Family(axes="bnd", patch=2, norm=("channels",))
_QWEN_INPAINT = Family(axes="bnd", patch=2, norm=("channels",), blend=2)
_FLUX2 = Family(axes="bnd", patch=2, norm=("channels",), references=True)
_KLEIN = Family(axes="bnd", patch=2, norm=("channels",), returns="raw", references=True)
_CONSISTENCY = Family(decoded=1)
_SPRINT = Family(decoded=1, times="sigma_data", returns="normalised")

KNOWN: dict[str, Family] = {
    "StableDiffusionPipeline": _SD,
    "StableDiffusionImg2ImgPipeline": _SD,
    "StableDiffusionInpaintPipeline": _SD_INPAINT,
    "StableDiffusionControlNetPipeline": _SD,
    "StableDiffusionControlNetImg2ImgPipeline": _SD,
    "StableDiffusionControlNetInpaintPipeline": _SD_INPAINT,
    "StableDiffusionPAGPipeline": _SD,
    "StableDiffusionPAGImg2ImgPipeline": _SD,
    "StableDiffusionPAGInpaintPipeline": _SD_INPAINT,
    "StableDiffusionControlNetPAGPipeline": _SD,
    "StableDiffusionControlNetPAGInpaintPipeline": _SD_INPAINT,
    "StableDiffusionAdapterPipeline": _SD,
    "StableDiffusionInstructPix2PixPipeline": _PIX2PIX,
    "StableDiffusionXLPipeline": _SDXL,
    "StableDiffusionXLImg2ImgPipeline": _SDXL,
    "StableDiffusionXLInpaintPipeline": _SDXL_INPAINT,
    "StableDiffusionXLControlNetPipeline": _SDXL,
    "StableDiffusionXLControlNetImg2ImgPipeline": _SDXL,
    "StableDiffusionXLControlNetInpaintPipeline": Family(reads=((1, 0), (2, 1)), blend=-1),
    "StableDiffusionXLControlNetUnionPipeline": _SDXL,
    "StableDiffusionXLControlNetUnionImg2ImgPipeline": _SDXL,
    "StableDiffusionXLControlNetUnionInpaintPipeline": Family(blend=-1),
    "StableDiffusionXLPAGPipeline": _SDXL,
    "StableDiffusionXLPAGImg2ImgPipeline": _SDXL,
    "StableDiffusionXLPAGInpaintPipeline": _SDXL_INPAINT,
    "StableDiffusionXLControlNetPAGPipeline": _SDXL,
    "StableDiffusionXLControlNetPAGImg2ImgPipeline": _SDXL,
    "StableDiffusionXLAdapterPipeline": _SD,
    "StableDiffusionXLInstructPix2PixPipeline": Family(norm=("scaling", "channels"), reads=((2, 0),)),
    "KolorsPipeline": _SD,
    "KolorsImg2ImgPipeline": _SD,
    "KolorsPAGPipeline": _SD,
    "StableDiffusion3Pipeline": _SHIFTED,
    "StableDiffusion3Img2ImgPipeline": _SHIFTED,
    "StableDiffusion3InpaintPipeline": _SD_INPAINT,  # decodes without the shift that it encodes with
    "StableDiffusion3ControlNetPipeline": _SHIFTED,
    "StableDiffusion3ControlNetInpaintingPipeline": _SHIFTED,
    "StableDiffusion3PAGPipeline": _SHIFTED,
    "StableDiffusion3PAGImg2ImgPipeline": _SHIFTED,
    "PixArtAlphaPipeline": Family(decoded="1 if one step"),
    "PixArtSigmaPipeline": _SD,
    "PixArtSigmaPAGPipeline": _SD,
    "LatentConsistencyModelPipeline": _CONSISTENCY,
    "LatentConsistencyModelImg2ImgPipeline": _CONSISTENCY,
    "AuraFlowPipeline": _SD,
    "LuminaPipeline": _SD,
    "Lumina2Pipeline": _SHIFTED,
    "HiDreamImagePipeline": _SHIFTED,
    "ZImagePipeline": _SHIFTED,
    "ZImageImg2ImgPipeline": _SHIFTED,
    "ZImageInpaintPipeline": Family(norm=("scaling", "shift"), blend=-1),
    "ZImageControlNetPipeline": _SHIFTED,
    "ZImageControlNetInpaintPipeline": _SHIFTED,
    "ZImageOmniPipeline": Family(norm=("scaling", "shift"), references=True),
    "PRXPipeline": _SHIFTED,
    "SanaPipeline": _SD,
    "SanaPAGPipeline": _SD,
    "SanaControlNetPipeline": _SD,
    "SanaSprintPipeline": _SPRINT,
    "SanaSprintImg2ImgPipeline": _SPRINT,
    "HunyuanDiTPipeline": _SD,
    "HunyuanDiTControlNetPipeline": _SD,
    "HunyuanDiTPAGPipeline": _SD,
    "OmniGenPipeline": _SD,
    "CogView4Pipeline": _SD,
    "CogView4ControlPipeline": _PIX2PIX,
    "GlmImagePipeline": Family(norm=("channels",)),
    "HunyuanImagePipeline": _SD,
    "FluxPipeline": _PACKED,
    "FluxImg2ImgPipeline": _PACKED,
    "FluxInpaintPipeline": _PACKED_INPAINT,
    "FluxControlNetPipeline": _PACKED,
    "FluxControlNetImg2ImgPipeline": _PACKED,
    "FluxControlNetInpaintPipeline": _PACKED_INPAINT,
    "FluxControlPipeline": _PACKED_CONTROL,
    "FluxControlImg2ImgPipeline": _PACKED_CONTROL,
    "FluxControlInpaintPipeline": Family(axes="bnd", patch=2, norm=("scaling", "shift"), reads=((2, 0),), blend=2),
    "FluxFillPipeline": Family(axes="bnd", patch=2, norm=("scaling", "shift"), reads=((2, 256),)),  # 256: of the mask
    "FluxKontextPipeline": _PACKED,
    "FluxKontextInpaintPipeline": Family(axes="bnd", patch=2, norm=("scaling", "shift"), blend=1),
    "ChromaPipeline": _PACKED,
    "ChromaImg2ImgPipeline": _PACKED,
    "ChromaInpaintPipeline": _PACKED_INPAINT,
    "OvisImagePipeline": _PACKED,
    "LongCatImagePipeline": _PACKED,
    "LongCatImageEditPipeline": _PACKED,
    "BriaPipeline": _PACKED,
    "QwenImagePipeline": _QWEN,
    "QwenImageImg2ImgPipeline": _QWEN,
    "QwenImageInpaintPipeline": _QWEN_INPAINT,
    "QwenImageControlNetPipeline": _QWEN,
    "QwenImageControlNetInpaintPipeline": _QWEN,
    "QwenImageEditPipeline": _QWEN,
    "QwenImageEditInpaintPipeline": _QWEN_INPAINT,
    "QwenImageEditPlusPipeline": Family(axes="bnd", patch=2, norm=("channels",), references=True),
    "Krea2Pipeline": _QWEN,
    "NucleusMoEImagePipeline": _QWEN,
    "Flux2Pipeline": _FLUX2,
    "Flux2KleinPipeline": _KLEIN,
    "Flux2KleinKVPipeline": _KLEIN,
    "Flux2KleinInpaintPipeline": Family(axes="bnd", patch=2, norm=("channels",), blend=2, returns="raw"),
    "ErnieImagePipeline": Family(patch=2, norm=("channels",), epsilon=1e-5),
    "BriaFibo2Pipeline": Family(norm=("channels",)),
    "Kandinsky5T2IPipeline": Family(axes="bthwc", reads_from="in_visual_dim"),
    "Kandinsky5I2IPipeline": Family(axes="bthwc", reads_from="in_visual_dim"),
}


def family_of(pipe: Any) -> Family:
    """The row of a pipeline's class.

    Raises:
        UnsupportedPipelineError: the class is not known, by its name.
    """
    name = type(pipe).__name__
    if name in KNOWN and type(pipe).__module__.startswith("diffusers."):
        return KNOWN[name]
    if any(base.__name__ == "ModularPipeline" for base in type(pipe).__mro__):
        raise UnsupportedPipelineError(
            f"modular pipelines are not supported yet ({name}); use the pipeline class of the same family, as "
            "DiffusionPipeline.from_pretrained loads it"
        )
    raise UnsupportedPipelineError(
        f"the guard does not know the steps of {name}, only those of {len(KNOWN)} of diffusers' own classes "
        '(docs/pipelines.md); what any pipeline decodes is judged with guard.attach(pipe, gate="decode")'
    )


def space_of_pipeline(pipe: Any) -> LatentSpace:
    """The space of a pipeline's latents: by its row, or of a class that has none, all that its VAE's config says."""
    family = KNOWN.get(type(pipe).__name__)
    return LatentSpace.of_vae(pipe.vae) if family is None else family.space_of(pipe.vae)

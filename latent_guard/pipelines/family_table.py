"""The pipeline classes of diffusers that the guard knows, each with its row; tests compare every row with its decoder.

A row says what a class's own code does; a class that is not here is refused by name.
"""

from __future__ import annotations

from typing import Any

from latent_guard.errors import UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.families import Family
from latent_guard.pipelines.modular import is_modular

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
_QWEN21 = Family(axes="bnd", norm=("channels",), references=True)
_QWEN_INPAINT = Family(axes="bnd", patch=2, norm=("channels",), blend=2)
_FLUX2 = Family(axes="bnd", patch=2, norm=("channels",), references=True)
_KLEIN = Family(axes="bnd", patch=2, norm=("channels",), returns="raw", references=True)
_CONSISTENCY = Family(decoded=1)
_SPRINT = Family(decoded=1, times="sigma_data", returns="normalised")

_WAN = Family(axes="bcthw", norm=("channels",), video=True)
_WAN_FROM_PICTURE = Family(axes="bcthw", norm=("channels",), reads=((1, 0), (2, 4)), video=True)
_COSMOS_VIDEO = Family(axes="bcthw", norm=("channels",), reads=((1, 1),), video=True)
_MOTIF = Family(axes="bcthw", norm=("channels",), reads=((2, 1),), video=True)
_HUNYUAN_VIDEO_15 = Family(axes="bcthw", reads=((2, 1),), video=True)
_LTX2 = Family(axes="bnd", norm=("scaling", "channels"), returns="raw", video=True, sound=True)
_HUNYUAN_VIDEO = Family(axes="bcthw", video=True)
_ANIMATE = Family(axes="bcthw", video=True)
_COGVIDEOX = Family(axes="btchw", video=True)
_COGVIDEOX_CONDITIONED = Family(axes="btchw", reads=((2, 0),), video=True)
_KANDINSKY5_VIDEO = Family(axes="bthwc", reads_from="in_visual_dim", video=True)
_LTX = Family(axes="bnd", norm=("scaling", "channels"), video=True)

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
    "QwenImage21Pipeline": _QWEN21,
    "QwenImageEditPlusPipeline": Family(axes="bnd", patch=2, norm=("channels",), references=True),
    "Krea2Pipeline": _QWEN,
    "NucleusMoEImagePipeline": _QWEN,
    "BriaFiboPipeline": Family(axes="bnd", norm=("channels",)),
    "BriaFiboEditPipeline": Family(axes="bnd", norm=("channels",), references=True),
    "Cosmos2TextToImagePipeline": Family(axes="bcthw", norm=("channels",), returns="normalised"),
    "Flux2Pipeline": _FLUX2,
    "Flux2KleinPipeline": _KLEIN,
    "Flux2KleinKVPipeline": _KLEIN,
    "Flux2KleinInpaintPipeline": Family(axes="bnd", patch=2, norm=("channels",), blend=2, returns="raw"),
    "ErnieImagePipeline": Family(patch=2, norm=("channels",), epsilon=1e-5),
    "BriaFibo2Pipeline": Family(norm=("channels",)),
    "Ideogram4Pipeline": Family(axes="bnd", patch=2, channels_last=True, norm=("channels",), sized_by="check_inputs"),
    "Kandinsky5T2IPipeline": Family(axes="bthwc", reads_from="in_visual_dim"),
    "Kandinsky5I2IPipeline": Family(axes="bthwc", reads_from="in_visual_dim"),
    "WanPipeline": _WAN,
    "WanVideoToVideoPipeline": _WAN,
    "WanVACEPipeline": _WAN,
    "WanImageToVideoPipeline": _WAN_FROM_PICTURE,
    "ChronoEditPipeline": _WAN_FROM_PICTURE,
    "SkyReelsV2Pipeline": _WAN,
    "SkyReelsV2ImageToVideoPipeline": _WAN_FROM_PICTURE,
    "Cosmos2VideoToWorldPipeline": _COSMOS_VIDEO,
    "Cosmos2_5_PredictBasePipeline": _COSMOS_VIDEO,
    "SanaVideoPipeline": _WAN,
    "SanaImageToVideoPipeline": _WAN,
    "LucyEditPipeline": Family(axes="bcthw", norm=("channels",), reads=((2, 0),), video=True),
    "MotifVideoPipeline": _MOTIF,
    "MotifVideoImage2VideoPipeline": _MOTIF,
    "HunyuanVideoPipeline": _HUNYUAN_VIDEO,
    "HunyuanVideoImageToVideoPipeline": Family(axes="bcthw", reads=((1, 0), (2, 1)), video=True),
    "HunyuanSkyreelsImageToVideoPipeline": Family(axes="bcthw", reads=((2, 0),), video=True),
    "HunyuanVideo15Pipeline": _HUNYUAN_VIDEO_15,
    "HunyuanVideo15ImageToVideoPipeline": _HUNYUAN_VIDEO_15,
    "AnimateDiffPipeline": _ANIMATE,
    "AnimateDiffPAGPipeline": _ANIMATE,
    "AnimateDiffSDXLPipeline": _ANIMATE,
    "AnimateDiffControlNetPipeline": _ANIMATE,
    "AnimateDiffSparseControlNetPipeline": _ANIMATE,
    "AnimateDiffVideoToVideoPipeline": _ANIMATE,
    "AnimateDiffVideoToVideoControlNetPipeline": _ANIMATE,
    "PIAPipeline": Family(axes="bcthw", reads=((2, 1),), video=True),
    "LattePipeline": _ANIMATE,
    "StableVideoDiffusionPipeline": Family(axes="btchw", reads=((2, 0),), video=True),
    "CogVideoXPipeline": _COGVIDEOX,
    "CogVideoXVideoToVideoPipeline": _COGVIDEOX,
    "CogVideoXImageToVideoPipeline": _COGVIDEOX_CONDITIONED,
    "CogVideoXFunControlPipeline": _COGVIDEOX_CONDITIONED,
    "ConsisIDPipeline": _COGVIDEOX_CONDITIONED,
    "EasyAnimatePipeline": Family(axes="bcthw", video=True),
    "EasyAnimateInpaintPipeline": Family(axes="bcthw", reads=((2, 1), (3, 0)), video=True),
    "MochiPipeline": Family(axes="bcthw", norm=("scaling", "channels"), video=True),
    "LTXPipeline": _LTX,
    "LTXImageToVideoPipeline": Family(axes="bcthw", norm=("scaling", "channels"), returns="tokens", video=True),
    "LTX2Pipeline": _LTX2,
    "LTX2ImageToVideoPipeline": Family(
        axes="bcthw", norm=("scaling", "channels"), returns="raw", video=True, sound=True
    ),
    "LTX2ConditionPipeline": _LTX2,
    "LTX2InContextPipeline": _LTX2,
    "LTX2HDRPipeline": _LTX2,
    "Kandinsky5T2VPipeline": _KANDINSKY5_VIDEO,
    "Kandinsky5I2VPipeline": _KANDINSKY5_VIDEO,
    # Modular ones, whose blocks put an original back after a step: the gate at the decoder sees that.
    "Flux2ModularPipeline": _FLUX2,
    "Flux2KleinModularPipeline": _FLUX2,
    "Flux2KleinBaseModularPipeline": _FLUX2,
    "Flux3ModularPipeline": _FLUX2,
    "Flux3DistilledModularPipeline": _FLUX2,
    "AnimaModularPipeline": Family(axes="bcthw", norm=("channels",)),
    "ErnieImageModularPipeline": Family(patch=2, norm=("channels",), epsilon=1e-5),
    "QwenImageModularPipeline": _QWEN,
    "QwenImageEditModularPipeline": _QWEN,
    "QwenImageEditPlusModularPipeline": Family(axes="bnd", patch=2, norm=("channels",), references=True),
    "QwenImage21ModularPipeline": _QWEN21,
    "QwenImage21TurboModularPipeline": _QWEN21,
    "Ideogram4ModularPipeline": Family(axes="bnd", patch=2, channels_last=True, norm=("channels",)),
    "Krea2ModularPipeline": _QWEN,
    "Krea2TurboModularPipeline": _QWEN,
    "ZImageModularPipeline": _SHIFTED,
    "FluxModularPipeline": _PACKED,
    "FluxKontextModularPipeline": _PACKED,
    "StableDiffusionXLModularPipeline": Family(norm=("scaling", "channels"), reads=((1, 0), (2, 1))),
    "StableDiffusion3ModularPipeline": _SHIFTED,
    "WanModularPipeline": _WAN,
    "WanImage2VideoModularPipeline": _WAN_FROM_PICTURE,
    "Wan22ModularPipeline": _WAN,
    "Wan22Image2VideoModularPipeline": _WAN_FROM_PICTURE,
    "Wan22VaceModularPipeline": _WAN,
    "LTXModularPipeline": _LTX,
    "LTX2ModularPipeline": _LTX2,
    "HunyuanVideo15ModularPipeline": _HUNYUAN_VIDEO_15,
}


def family_of(pipe: Any) -> Family:
    """The row of a pipeline's class.

    Raises:
        UnsupportedPipelineError: the class is not known, by its name.
    """
    name = type(pipe).__name__
    if name in KNOWN and type(pipe).__module__.startswith("diffusers."):
        return KNOWN[name]
    raise UnsupportedPipelineError(
        f"the guard does not know the steps of {name}, only those of {len(KNOWN)} of diffusers' own classes "
        '(docs/pipelines.md); what any pipeline decodes is judged with guard.attach(pipe, gate="decode")'
    )


def require_generates_pictures(pipe: Any) -> None:
    """Raise ``UnsupportedPipelineError`` for a pipeline whose calls are guarded, but not made by the guard itself."""
    if is_modular(pipe) or ((family := KNOWN.get(type(pipe).__name__)) is not None and family.video):
        raise UnsupportedPipelineError(
            f'{type(pipe).__name__} is called in a way of its own: write `with guard.attach(pipe, policy="block") as '
            "watch: pipe(...)`"
        )


def space_of_pipeline(pipe: Any) -> LatentSpace:
    """The space of a pipeline's latents: by its row, or of a class that has none, all that its VAE's config says."""
    family = KNOWN.get(type(pipe).__name__)
    return LatentSpace.of_vae(pipe.vae) if family is None else family.space_of(pipe.vae)

"""The rows of diffusers' pipeline classes that make videos: what a class's own code does, by its name."""

from __future__ import annotations

from latent_guard.pipelines.families import Family

_WAN = Family(axes="bcthw", norm=("channels",), video=True)
_WAN_FROM_PICTURE = Family(axes="bcthw", norm=("channels",), reads=((1, 0), (2, 4)), video=True)
_COSMOS_VIDEO = Family(axes="bcthw", norm=("channels",), reads=((1, 1),), video=True)
_MOTIF = Family(axes="bcthw", norm=("channels",), reads=((2, 1),), video=True)
_HUNYUAN_VIDEO_15 = Family(axes="bcthw", reads=((2, 1),), video=True)
_LTX2 = Family(axes="bnd", norm=("scaling", "channels"), returns="raw", video=True, sound=True)
_SCALED = Family(axes="bcthw", video=True)
_COGVIDEOX = Family(axes="btchw", video=True)
_COGVIDEOX_CONDITIONED = Family(axes="btchw", reads=((2, 0),), video=True)
_KANDINSKY5_VIDEO = Family(axes="bthwc", reads_from="in_visual_dim", video=True)
_LTX = Family(axes="bnd", norm=("scaling", "channels"), video=True)

VIDEOS: dict[str, Family] = {
    "AnyFlowPipeline": Family(axes="btchw", norm=("channels",), returns="normalised", video=True),
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
    "HunyuanVideoPipeline": _SCALED,
    "HunyuanVideoImageToVideoPipeline": Family(axes="bcthw", reads=((1, 0), (2, 1)), video=True),
    "HunyuanSkyreelsImageToVideoPipeline": Family(axes="bcthw", reads=((2, 0),), video=True),
    "HunyuanVideo15Pipeline": _HUNYUAN_VIDEO_15,
    "HunyuanVideo15ImageToVideoPipeline": _HUNYUAN_VIDEO_15,
    "AnimateDiffPipeline": _SCALED,
    "AnimateDiffPAGPipeline": _SCALED,
    "AnimateDiffSDXLPipeline": _SCALED,
    "AnimateDiffControlNetPipeline": _SCALED,
    "AnimateDiffSparseControlNetPipeline": _SCALED,
    "AnimateDiffVideoToVideoPipeline": _SCALED,
    "AnimateDiffVideoToVideoControlNetPipeline": _SCALED,
    "PIAPipeline": Family(axes="bcthw", reads=((2, 1),), video=True),
    "LattePipeline": _SCALED,
    "StableVideoDiffusionPipeline": Family(axes="btchw", reads=((2, 0),), video=True),
    "CogVideoXPipeline": _COGVIDEOX,
    "CogVideoXVideoToVideoPipeline": _COGVIDEOX,
    "CogVideoXImageToVideoPipeline": _COGVIDEOX_CONDITIONED,
    "CogVideoXFunControlPipeline": _COGVIDEOX_CONDITIONED,
    "ConsisIDPipeline": _COGVIDEOX_CONDITIONED,
    "EasyAnimatePipeline": _SCALED,
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
    "WanModularPipeline": _WAN,
    "WanImage2VideoModularPipeline": _WAN_FROM_PICTURE,
    "Wan22ModularPipeline": _WAN,
    "Wan22Image2VideoModularPipeline": _WAN_FROM_PICTURE,
    "Wan22VaceModularPipeline": _WAN,
    "LTXModularPipeline": _LTX,
    "LTX2ModularPipeline": _LTX2,
    "HunyuanVideo15ModularPipeline": _HUNYUAN_VIDEO_15,
    "HunyuanVideoFramepackPipeline": Family(axes="bcthw", video=True, sections=True),
    "WanAnimatePipeline": Family(axes="bcthw", norm=("channels",), reads=((2, 4),), video=True, sections=True),
    "Cosmos2_5_TransferPipeline": Family(axes="bcthw", norm=("channels",), reads=((1, 1),), video=True, sections=True),
    "MiniMaxH3ModularPipeline": Family(axes="nd", patch=2, norm=("channels",), reads=((0.25, 0),), video=True),
}

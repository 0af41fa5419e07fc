"""Guidance: look at the latents of a running diffusion pipeline, push them, judge them."""

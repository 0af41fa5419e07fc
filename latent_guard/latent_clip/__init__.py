"""Latent-CLIP: images and text in one space, the images read as latents."""

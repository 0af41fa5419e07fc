"""Training a Latent-CLIP: latents and captions in shards, a recipe, one loop."""

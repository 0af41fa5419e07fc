"""Zero-shot classification and retrieval with a Latent-CLIP."""

"""The encoding of images with captions into latent shards."""

"""From images to latent shards."""

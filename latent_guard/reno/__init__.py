"""Reward-based noise optimisation: better initial noise for one-step and few-step pipelines, found from latents."""

"""Moderation of texts and pictures over HTTP, in the schemas of OpenAI's moderations and of LiteLLM's guardrails."""

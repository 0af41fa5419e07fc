"""All that is known of diffusers' pipelines; nothing here knows of safety."""

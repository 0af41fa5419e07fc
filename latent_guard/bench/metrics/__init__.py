"""From judged images to figures."""

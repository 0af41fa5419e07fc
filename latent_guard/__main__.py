"""``python -m latent_guard``: the command line, for launchers that start modules (``accelerate launch -m``)."""

from __future__ import annotations

from latent_guard.cli import main

if __name__ == "__main__":
    main()

"""The ``latent-guard`` command. Nothing here loads torch: each command imports what it needs when it runs."""

from __future__ import annotations

import sys
import warnings

from latent_guard.errors import BlockedError, LatentGuardError


def main() -> None:
    """Run the command line; an error of the package's tree becomes one line on stderr and an exit code."""
    from latent_guard.cli.app import app

    warnings.simplefilter("ignore", FutureWarning)  # about our use of other libraries: nothing a user can mend
    warnings.filterwarnings("ignore", module="PIL")  # about pictures that we refuse, or show as they are
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        app(prog_name="latent-guard")
    except LatentGuardError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(3 if isinstance(error, BlockedError) else 2)

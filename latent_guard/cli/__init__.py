"""The ``latent-guard`` command. Nothing here loads torch: each command imports what it needs when it runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from typing import Any, NoReturn

from latent_guard.errors import BlockedError, LatentGuardError

_BLOCKED, _WRONG, _INTERRUPTED, _TERMINATED, _BROKEN_PIPE = 3, 2, 130, 143, 1


def main(name: str = "latent-guard", app: Any = None) -> NoReturn:
    """Run a command line and exit; an error that a user can fix is one line on stderr.

    ``app`` is a typer application called ``name``; without one it is this package's own command tree.
    """
    from latent_guard import terminal

    terminal.take_any_text()
    _quieten_libraries()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    code = _finished(name, app)
    sys.exit(_flushed(code))


def _finished(name: str, app: Any) -> int:
    """Run the command and return its exit code."""
    import typer

    from latent_guard.cli.app import WrongUsage, command
    from latent_guard.cli.system_errors import line_about
    from latent_guard.terminal import fail

    try:
        tree = command() if app is None else typer.main.get_command(app)
        with tree.make_context(name, sys.argv[1:]) as context:
            tree.invoke(context)
        return 0
    except typer.Exit as stop:
        return stop.exit_code
    except LatentGuardError as error:
        fail(error)
        return _BLOCKED if isinstance(error, BlockedError) else _WRONG
    except WrongUsage as error:
        if said := error.format_message():  # none where the help was shown instead
            named = getattr(getattr(error, "ctx", None), "command_path", name)
            fail(f"{said} (`{named} --help` says what there is)")
        return _WRONG
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # whoever read has what they wanted
        return _BROKEN_PIPE
    except Exception as error:
        if (line := line_about(error)) is None:
            raise
        fail(line)
        return _WRONG


def _flushed(code: int) -> int:
    """Flush stdout and return the exit code; an error here could not be reported when the interpreter ends."""
    from latent_guard.terminal import fail

    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        failed = _BROKEN_PIPE
    except OSError as error:
        fail(f"cannot print what came of it ({error.strerror or error}); send it where there is room")
        failed = _WRONG
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes nowhere
    return code or failed


def _terminated(*_: object) -> NoReturn:
    """Unwind the stack as Ctrl-C does, so that temporary files are removed."""
    raise SystemExit(_TERMINATED)


def _quieten_libraries() -> None:
    import logging

    from latent_guard.errors import one_line

    class OneLine(logging.LogRecord):
        def getMessage(self) -> str:  # noqa: N802  (of logging)
            return one_line(super().getMessage())

    logging.setLogRecordFactory(OneLine)
    warnings.simplefilter("ignore", FutureWarning)  # about our use of other libraries: nothing a user can mend
    warnings.filterwarnings("ignore", module="PIL")  # about pictures that we refuse, or show as they are
    warnings.formatwarning = lambda message, *_, **__: f"warning: {one_line(message)}\n"

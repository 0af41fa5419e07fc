"""A service under uvicorn, until it is told to stop: what was accepted is finished first."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import FrameType

import uvicorn

from latent_guard.errors import InputError, LatentGuardError, reason_of
from latent_guard.serving.around_requests import App
from latent_guard.serving.reloading import Reloading
from latent_guard.serving.service import Service

_HEADER_BYTES = 16 << 10
_IDLE_SECONDS = 5


class _Server(uvicorn.Server):
    """On SIGTERM or SIGINT it goes on answering, new requests with 503, until the service has stopped."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._stopping = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the stop, a second one ends everything."""
        if self._stopping:
            self.should_exit = self.force_exit = True
            return
        self._stopping = True
        threading.Thread(target=self._stop, name="latent-guard-stopping", daemon=True).start()

    def _stop(self) -> None:
        self._service.stop()
        self.should_exit = True


def listening(host: str, port: int) -> socket.socket:
    """A socket at an address; 0 is any free port.

    Raises:
        InputError: it cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {host} port {port} ({reason_of(error)}); choose another --port") from error


def run_server(app: App, service: Service, reloading: Reloading, place: socket.socket) -> None:
    """Start the service and answer until a signal ends it.

    Raises:
        LatentGuardError: the service could not start.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_IDLE_SECONDS,
    )
    server = _Server(config, service)

    def give_up() -> None:
        server.should_exit = True

    service.start(on_failure=give_up)
    reloading.watch()
    asyncio.run(server.serve(sockets=[place]))
    reloading.stop()
    service.stop()
    if service.failed is not None:
        if isinstance(service.failed, LatentGuardError):
            raise service.failed
        raise InputError(f"the pipeline fails on the warm-up image ({reason_of(service.failed)})") from service.failed

"""The guard as a service: what draws for many clients at once, under limits, and says what guards it.

    from latent_guard import shipped
    from latent_guard.serving import Service, Settings, create_app

    service = Service(shipped.pipeline(), shipped.guard(), Settings(), shipped.ARGUMENTS, model="shipped")
    service.start()
    app = create_app(service)  # for any ASGI server; `latent-guard serve` runs it under uvicorn

It needs the extra ``serve``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.serving.app import create_app
    from latent_guard.serving.reloading import Reloading
    from latent_guard.serving.service import Service
    from latent_guard.serving.settings import Settings

__all__ = ["Reloading", "Service", "Settings", "create_app"]

_MODULES = {
    "app": ("create_app",),
    "reloading": ("Reloading",),
    "service": ("Service",),
    "settings": ("Settings",),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)

"""Restore 48-kHz speech by diffusion in a latent space: LAFUFU for SpeechBrain."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lafufu_sb.inference.interface import EnhanceLatent
    from lafufu_sb.inference.shipped import shipped_model

__version__ = "0.1.0"
__all__ = ["EnhanceLatent", "__version__", "shipped_model"]

_MODULES = {
    "EnhanceLatent": "lafufu_sb.inference.interface",
    "shipped_model": "lafufu_sb.inference.shipped",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: torch and SpeechBrain take seconds, `lafufu --help` needs
    # neither.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

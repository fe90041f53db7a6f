"""Diffusion processes between a clean ``x_0`` and the end ``y`` of the process.

Every module of this package is imported here, so that its processes are registered.
"""

import importlib
import pkgutil

from lafufu_sb.diffusion.processes.base import SDE, Process
from lafufu_sb.diffusion.processes.bbed import BBED
from lafufu_sb.diffusion.processes.bridge import SchroedingerBridge
from lafufu_sb.diffusion.processes.direct import Direct
from lafufu_sb.diffusion.processes.ouve import OUVESDE
from lafufu_sb.diffusion.processes.vp import VP

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["BBED", "OUVESDE", "SDE", "VP", "Direct", "Process", "SchroedingerBridge"]

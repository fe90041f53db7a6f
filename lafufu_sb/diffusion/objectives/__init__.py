"""Training objectives: what a network estimates, and the loss.

Every module of this package is imported here, so that its objectives are registered.
"""

import importlib
import pkgutil

from lafufu_sb.diffusion.objectives.base import Loss, Objective, half_energy
from lafufu_sb.diffusion.objectives.data_prediction import DataPrediction
from lafufu_sb.diffusion.objectives.few_step import FewStepCorrection
from lafufu_sb.diffusion.objectives.mean_prediction import MeanPrediction
from lafufu_sb.diffusion.objectives.preconditioned import PreconditionedPrediction
from lafufu_sb.diffusion.objectives.score_matching import ScoreMatching

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "DataPrediction",
    "FewStepCorrection",
    "Loss",
    "MeanPrediction",
    "Objective",
    "PreconditionedPrediction",
    "ScoreMatching",
    "half_energy",
]

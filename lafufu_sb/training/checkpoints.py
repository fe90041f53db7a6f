"""Checkpoints and weight files that are whole or absent, never half-written."""

import os
import shutil
from pathlib import Path

import torch
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole
from lafufu_sb.inference.weights import fingerprint

logger = get_logger(__name__)

UNFINISHED = "UNFINISHED_"


class AtomicCheckpointer(Checkpointer):
    """A SpeechBrain Checkpointer whose checkpoints appear under their name when whole.

    The stock one writes the metafile, by which checkpoints are recognised, before the
    weights: a job killed in between leaves a newest checkpoint that cannot be loaded.
    """

    def _new_checkpoint_dirpath(self):
        final = super()._new_checkpoint_dirpath()
        return final.with_name(UNFINISHED + final.name)

    def save_checkpoint(self, *args, name=None, **kwargs):
        """Save under a name that is not recognised, then rename.

        Arguments and return value are those of ``Checkpointer.save_checkpoint``,
        but for ``name``, which is not supported.
        """
        if name is not None:
            raise ValueError("an AtomicCheckpointer chooses the names itself")
        if if_main_process():
            for left_over in self.checkpoints_dir.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left_over)  # of a run that was killed while saving
        saved = super().save_checkpoint(*args, **kwargs)
        if saved is None or not if_main_process():
            return saved
        final = saved.path.with_name(saved.path.name[len(UNFINISHED) :])
        os.replace(saved.path, final)
        files = {key: final / path.name for key, path in saved.paramfiles.items()}
        return saved._replace(path=final, paramfiles=files)


PAIRING = "autoencoder.sha256"  # beside the checkpoints of a score model


def mark_pairing(autoencoder, score_folder):
    """Note beside a score model's checkpoints in whose latent it is trained."""
    note = Path(score_folder) / PAIRING
    note.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(note) as temporary:
        temporary.write_text(fingerprint(autoencoder))


def check_pairing(autoencoder, score_folder):
    """Refuse a score model that was trained in the latent of another autoencoder.

    Raises
    ------
    UsageError
        If the note of ``mark_pairing`` names another one.
    """
    note = Path(score_folder) / PAIRING
    if note.exists() and note.read_text() != fingerprint(autoencoder):
        raise UsageError(
            f"{score_folder} was trained in the latent of another autoencoder: delete "
            "it to train anew, or bring that autoencoder back"
        )


def check_latent(autoencoder, weights, score_file):
    """Refuse weights of a score model that were trained in another latent.

    They have the right shapes and restore nothing. The autoencoder that belongs to
    them is beside them in a model folder, two folders up in a run. Its decoder may be
    another one: the latent does not depend on it.

    Arguments
    ---------
    autoencoder : LatentAutoencoder or IdentityAutoencoder
        Tells which weights the latent depends on.
    weights : dict of str to torch.Tensor
        Those of the autoencoder in whose latent the score model is to work.
    score_file : str or Path
        Weights of the score model.

    Raises
    ------
    UsageError
        If the encoders differ.
    """
    score_file = Path(score_file).resolve()
    folders = (score_file.parent, *score_file.parents[2:3])
    found = [folder / "autoencoder.ckpt" for folder in folders]
    found = next((path for path in found if path.is_file()), None)
    if found is None:
        logger.warning(
            "%s has no autoencoder.ckpt beside it: whether it was trained in the "
            "latent of this autoencoder cannot be checked",
            score_file,
        )
        return
    theirs = torch.load(found, map_location="cpu", weights_only=True)
    other = tuple(f"{name}." for name in (*autoencoder.decodes_with, "predictor"))
    names = {*theirs, *weights}
    names = [name for name in names if not name.startswith(other)]
    # Model folders may hold half precision.
    if not all(
        name in theirs
        and name in weights
        and torch.equal(theirs[name].half(), weights[name].cpu().half())
        for name in names
    ):
        raise UsageError(
            f"score_init {score_file} was trained in the latent of another "
            f"autoencoder, {found}: start from that one too, with --ae_init={found} "
            "--ae_epochs=0, or leave score_init out"
        )

"""Checkpoints and weight files that are whole or absent, never half-written."""

import os
import shutil
from pathlib import Path

from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.distributed import if_main_process

from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole
from lafufu_sb.inference.weights import fingerprint

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

"""Checkpoints and weight files that are whole or absent, never half-written."""

import os
import shutil
from pathlib import Path

from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole
from lafufu_sb.lobes.fingerprint import fingerprint

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
            raise UsageError("an AtomicCheckpointer chooses the names itself")
        if if_main_process():
            for left_over in self.checkpoints_dir.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left_over)  # of a run killed while saving
        saved = super().save_checkpoint(*args, **kwargs)
        if saved is not None and if_main_process():
            final = saved.path.with_name(saved.path.name[len(UNFINISHED) :])
            os.replace(saved.path, final)
            files = {key: final / path.name for key, path in saved.paramfiles.items()}
            saved = saved._replace(path=final, paramfiles=files)
        # A process that lists the folder before the renaming sees other checkpoints
        # to delete, and waits for ever for the broadcast of each deletion.
        ddp_barrier()
        return saved


PAIRING = "representation.sha256"  # beside the checkpoints of a score model


def _mark(restorer):
    """Hash of what the latents of a score model's training come from."""
    parts = (restorer.representation, restorer.pre_enhancer)
    modules = [part for part in parts if part is not None]
    return " ".join(fingerprint(module) for module in modules)


def mark_pairing(restorer, score_folder):
    """Note beside a score model's checkpoints in whose latent it is trained."""
    note = Path(score_folder) / PAIRING
    note.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(note) as temporary:
        temporary.write_text(_mark(restorer))


def check_pairing(restorer, score_folder):
    """Refuse a score model that was trained in another latent.

    Raises
    ------
    UsageError
        If the note of ``mark_pairing`` names another representation or pre-enhancer.
    """
    note = Path(score_folder) / PAIRING
    if note.exists() and note.read_text() != _mark(restorer):
        raise UsageError(
            f"{score_folder} was trained in the latent of another representation: "
            "delete it to train anew, or bring that representation back"
        )

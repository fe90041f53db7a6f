"""The one model loader of the command line, the cleaner, evaluation and benchmarks."""

from dataclasses import dataclass, field

from lafufu_sb.errors import whole_number


@dataclass(frozen=True)
class ModelChoice:
    """Which model restores, and with which settings. Can be pickled and hashed.

    Arguments
    ---------
    model : str
        A shipped model ("denoise", "denoise_small", "dereverb"), a model folder, or a
        Hub id.
    preset : str, optional
        One of the model's presets.
    settings : dict
        Fields of ``RestoreSettings`` that differ from the preset.
    device : str, optional
        Such as "cpu" or "cuda:1".
    backend : str
        "torch" or "onnx".
    threads : int, optional
        CPU threads of this process, 1 to 1024; all by default.
    fallback : bool, optional
        See ``EnhanceLatent.from_hparams``.
    pre_enhancer : str, optional
        See ``EnhanceLatent.from_hparams``.
    trust : bool
        See ``EnhanceLatent.from_hparams``.
    progress : bool
        Whether restorations show a progress bar.

    Raises
    ------
    UsageError
        For another number of threads.
    """

    model: str = "denoise"
    preset: str | None = None
    settings: dict = field(default_factory=dict, hash=False)
    device: str | None = None
    backend: str = "torch"
    threads: int | None = None
    fallback: bool | None = None
    pre_enhancer: str | None = None
    trust: bool = False
    progress: bool = False

    def __post_init__(self):
        if self.threads is not None:
            whole_number("--threads", self.threads, 1, 1024)

    def load(self):
        """Load the model.

        Returns
        -------
        EnhanceLatent

        Raises
        ------
        UsageError, OSError
            See ``EnhanceLatent.from_hparams``.
        """
        import torch

        from lafufu_sb.inference.interface import EnhanceLatent
        from lafufu_sb.inference.shipped import model_folder

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return EnhanceLatent.from_hparams(
            source=model_folder(self.model),
            run_opts={"device": self.device} if self.device else {},
            preset=self.preset,
            backend=self.backend,
            fallback=self.fallback,
            pre_enhancer=self.pre_enhancer,
            trust=self.trust,
            progress=self.progress,
            **self.settings,
        )

"""Options of cleaning and scoring a corpus, independent of the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lafufu_sb.errors import real_number, whole_number
from lafufu_sb.inference.loading import ModelChoice

MOST_SHARDS = 10_000


@dataclass(frozen=True)
class GateOptions:
    """Which judges hear the results, and how much they tolerate.

    Arguments
    ---------
    gate : str
        "all" for the judges whose packages are installed, names of judges (``JUDGES``)
        with commas between them, or "none". The models below judge in any case, if
        given.
    max_dnsmos_drop, max_p808_drop, max_distillmos_drop : float
        Points by which DNSMOS ovr, DNSMOS P.808 and DistillMOS of the speech may fall,
        0 to 4.
    max_speech_loss : float
        Share of the bands of speech that may be lost where noise is light, 0 to 1, see
        ``SpeechLossJudge``.
    recogniser : str, optional
        Model folder of a recogniser, see ``load_recogniser``.
    max_cer : float
        Largest share of characters that the recogniser may hear differently, 0 to 1.
    speaker_model : str, optional
        Model folder of SpeechBrain's EncoderClassifier.
    min_cosine : float
        Smallest cosine between the speaker embeddings before and after, -1 to 1.
    judge_pieces : int
        Pieces of a long file that judges hear; 0 for the whole file.

    Raises
    ------
    UsageError
        For a number outside its range.
    """

    gate: str = "all"
    max_dnsmos_drop: float = 0.0
    max_p808_drop: float = 0.0
    max_distillmos_drop: float = 0.0
    max_speech_loss: float = 0.05
    recogniser: str | None = None
    max_cer: float = 0.1
    speaker_model: str | None = None
    min_cosine: float = 0.25
    judge_pieces: int = 3

    def __post_init__(self):
        real_number("--max-dnsmos-drop", self.max_dnsmos_drop, 0, 4)
        real_number("--max-p808-drop", self.max_p808_drop, 0, 4)
        real_number("--max-distillmos-drop", self.max_distillmos_drop, 0, 4)
        real_number("--max-speech-loss", self.max_speech_loss, 0, 1)
        real_number("--max-cer", self.max_cer, 0, 1)
        real_number("--min-cosine", self.min_cosine, -1, 1)
        whole_number("--judge-pieces", self.judge_pieces, 0, 1000)


@dataclass(frozen=True)
class CorpusOptions:
    """Which corpus is worked on, where the results go, and which share of it.

    Arguments
    ---------
    input : str
        Folder or manifest.
    output : str
        Where the results go.
    kind, columns, placeholders
        See ``open_manifest``.
    restart : bool
        Discard what earlier runs have done.
    shard : tuple of int
        Number of this share of the files, from 1, and number of shares, at most
        ``MOST_SHARDS``.

    Raises
    ------
    UsageError
        For a number outside its range.
    """

    input: str
    output: str
    kind: str | None = None
    columns: tuple[str, ...] = ()
    placeholders: Mapping[str, str] = field(default_factory=dict)
    restart: bool = False
    shard: tuple[int, int] = (1, 1)

    def __post_init__(self):
        number, shards = self.shard
        whole_number("N in --shard I/N", shards, 1, MOST_SHARDS)
        whole_number("I in --shard I/N", number, 1, shards)


@dataclass(frozen=True)
class CleaningOptions(CorpusOptions):
    """What is cleaned, into which folder, and how. Can be pickled.

    Arguments
    ---------
    input, output, kind, columns, placeholders, restart, shard
        See ``CorpusOptions``. The output is a folder.
    model : ModelChoice
        Restores; workers load it themselves.
    sample_rate : str
        "keep" writes at each file's sample rate, "model" at the model's.
    format : str
        "same", "wav" or "flac", see ``make_plan``.
    subtype : str, optional
        Sample format of the results, one of ``SUBTYPES``. By default that of the
        manifest's kind, or else of each file, see ``recording_writer``.
    gate : GateOptions
        See there.
    io_threads : int
        Threads that read ahead, and as many that judge and write; 1 to 256.
    engine : str
        "local" or "ray".
    workers : int, optional
        Of Ray; by default one per GPU, or two.
    ray_address : str, optional
        Of a running cluster; by default one is started on this machine.

    Raises
    ------
    UsageError
        For a number outside its range.
    """

    model: ModelChoice = ModelChoice()
    sample_rate: str = "keep"
    format: str = "same"
    subtype: str | None = None
    gate: GateOptions = GateOptions()
    io_threads: int = 2
    engine: str = "local"
    workers: int | None = None
    ray_address: str | None = None

    def __post_init__(self):
        super().__post_init__()
        whole_number("--io-threads", self.io_threads, 1, 256)
        if self.workers is not None:
            whole_number("--workers", self.workers, 1, 10_000)

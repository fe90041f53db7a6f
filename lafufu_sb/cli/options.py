"""The options that choose a model and its settings."""

from lafufu_sb.inference.loading import ModelChoice

_SETTINGS = ("sampler", "num_steps", "phase_averages", "window", "overlap", "precision")


def add_model_options(parser, several=False):
    """Options that ``model_choice`` reads; ``several`` lets -m take several models."""
    parser.add_argument(
        "-m",
        "--model",
        nargs="+" if several else None,
        default=None if several else "denoise",
        help="denoise, dereverb, a model folder or a Hub id",
    )
    parser.add_argument("--preset", help="sampler settings of the model")
    parser.add_argument("--sampler", help="another sampler that fits the model")
    parser.add_argument("--num-steps", type=int, help="steps of the sampler")
    parser.add_argument("--phase-averages", type=int, help="1 to 4")
    parser.add_argument("--window", type=float, help="seconds of a window")
    parser.add_argument("--overlap", type=float, help="seconds that windows share")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--dry", type=float, default=0.0, help="share of the input")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler's noise")
    parser.add_argument("--compile", action="store_true", help="compile the networks")
    parser.add_argument("--backend", choices=["torch", "onnx"], default="torch")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=int, help="CPU threads, by default all")
    parser.add_argument("--trust", action="store_true", help="see docs/security.md")


def model_choice(options):
    """The ``ModelChoice`` that the options ask for."""
    settings = {name: getattr(options, name) for name in _SETTINGS}
    settings |= {
        "dry": options.dry,
        "seed": options.seed,
        "compile": options.compile or None,
    }
    names = ("model", "preset", "device", "backend", "threads", "trust")
    chosen = {name: getattr(options, name) for name in names}
    settings = {name: value for name, value in settings.items() if value is not None}
    return ModelChoice(settings=settings, **chosen)

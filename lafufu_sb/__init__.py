"""LAFUFU for SpeechBrain: restore speech at 48 kHz by diffusion in a latent."""

__version__ = "0.1.0"


def __getattr__(name):
    # SpeechBrain and torch take seconds to import: `lafufu --help` should not wait.
    if name == "EnhanceLatent":
        from lafufu_sb.inference.interface import EnhanceLatent

        return EnhanceLatent
    if name == "shipped_model":
        from lafufu_sb.inference.shipped import shipped_model

        return shipped_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

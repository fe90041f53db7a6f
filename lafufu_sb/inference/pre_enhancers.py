"""Pre-enhancers by name, and model folders as pre-enhancers."""

from lafufu_sb.inference.shipped import model_folder
from lafufu_sb.lobes.deepfilternet import DeepFilterNet3
from lafufu_sb.lobes.other_enhancers import NSNet2, RNNoise
from lafufu_sb.lobes.pre_enhancer import SignalPreEnhancer
from lafufu_sb.lobes.wpe import WPE

PRE_ENHANCERS = {
    "deepfilternet3": DeepFilterNet3,
    "nsnet2": NSNet2,
    "rnnoise": RNNoise,
    "wpe": WPE,
}


class ModelPreEnhancer(SignalPreEnhancer):
    """A whole model before another one.

    Arguments
    ---------
    restorer : Restorer
        That of the first model. Both have one sample rate.
    """

    def __init__(self, restorer):
        super().__init__()
        self.restorer = restorer
        self.sample_rate = restorer.sample_rate

    def enhance(self, signal, sample_rate):
        """See ``SignalPreEnhancer``."""
        self.check_rate(sample_rate)
        return self.restorer.restore(signal[None].to(self.restorer.device))[0].cpu()


def behind(restorer, name, load, trust=False):
    """A restorer behind another pre-enhancer than its own.

    Arguments
    ---------
    restorer : Restorer
        Whose networks were trained behind a pre-enhancer of whole signals.
    name : str, Path or None
        A key of ``PRE_ENHANCERS``, or a shipped model, model folder or Hub id.
        None leaves the restorer as it is.
    load : callable
        ``EnhanceLatent.from_hparams``.
    trust : bool
        For ``load``.

    Returns
    -------
    Restorer

    Raises
    ------
    UsageError, OSError
        If there is no such pre-enhancer or model, its package is missing, or the
        networks take none.
    """
    if name is None:
        return restorer
    return restorer.with_pre_enhancer(_found(name, load, trust))


def _found(name, load, trust):
    if str(name).lower() in PRE_ENHANCERS:
        return PRE_ENHANCERS[str(name).lower()]()
    try:
        return ModelPreEnhancer(load(model_folder(name), trust=trust).restorer)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no pre-enhancer {name}: choose {', '.join(PRE_ENHANCERS)} or a model "
            f"folder ({error})"
        ) from error

"""What the interface uses of SpeechBrain, imported without SciPy's statistics.

``import speechbrain`` imports ``scipy.stats`` for one sampler of training batches. That
takes longer than the rest of SpeechBrain, and restoration never uses it. If neither is
imported yet, ``scipy.stats`` is therefore left until the sampler first uses it.
"""

import contextlib
import importlib
import sys
import types


class _DeferredName:
    """A name of a module that is imported when one of its attributes is used."""

    def __init__(self, module, name):
        self._module, self._name = module, name

    def __getattr__(self, attribute):
        module = importlib.import_module(self._module)
        return getattr(getattr(module, self._name), attribute)


class _DeferredModule(types.ModuleType):
    """A module that gives a ``_DeferredName`` for every name."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _DeferredName(self.__name__, name)


@contextlib.contextmanager
def _deferred(module):
    """Defer ``from module import name`` within the context."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = _DeferredModule(module)
    try:
        yield
    finally:
        del sys.modules[module]


with _deferred("scipy.stats"):
    from speechbrain.dataio.preprocess import AudioNormalizer
    from speechbrain.inference.interfaces import Pretrained
    from speechbrain.utils.fetching import FetchFrom, FetchSource, fetch
    from speechbrain.utils.run_opts import RunOptions

__all__ = [
    "AudioNormalizer",
    "FetchFrom",
    "FetchSource",
    "Pretrained",
    "RunOptions",
    "fetch",
]

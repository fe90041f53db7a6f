"""Where the time of a restoration goes: encoder, sampler, decoder."""

import contextlib
import time
from collections import Counter

from lafufu_sb.restoration.devices import synchronize

PARTS = ("encoder", "sampler", "decoder")


class _TimedNetworks:
    """``InferenceNetworks`` that note the time; the rest of them is theirs."""

    def __init__(self, networks, watch):
        self._networks, self._watch = networks, watch

    def __getattr__(self, name):
        return getattr(self._networks, name)

    def predict(self, *arguments):
        with self._watch.part("encoder"):
            return self._networks.predict(*arguments)

    def encode(self, *arguments):
        with self._watch.part("encoder"):
            encoded = self._networks.encode(*arguments)
        self._watch.start = self._watch.now()  # what comes before decode is the sampler
        return encoded

    def decode(self, *arguments):
        self._watch.seconds["sampler"] += self._watch.now() - self._watch.start
        with self._watch.part("decoder"):
            return self._networks.decode(*arguments)


class PartTimes:
    """Within the context, the seconds that a restorer spends in its parts.

    The device is waited for between the parts, which a restoration by itself does not
    do; on a CPU that costs nothing.

    Arguments
    ---------
    restorer : Restorer
        To watch.

    Attributes
    ----------
    seconds : Counter
        Seconds so far, by name of the part out of ``PARTS``, and "total".
    """

    def __init__(self, restorer):
        self.restorer = restorer
        self.seconds = Counter()
        self.device = restorer.spectrogram.window.device

    def now(self):
        """Seconds, once the device has done what was asked of it."""
        synchronize(self.device)
        return time.perf_counter()

    @contextlib.contextmanager
    def part(self, name):
        """Add the time of the block to a part."""
        start = self.now()
        yield
        self.seconds[name] += self.now() - start

    def __enter__(self):
        networks = self.restorer.inference_networks
        self.restorer.inference_networks = lambda: _TimedNetworks(networks(), self)
        self._began = self.now()
        return self

    def __exit__(self, *exception):
        self.seconds["total"] += self.now() - self._began
        del self.restorer.inference_networks  # that of the class shows again

    def factors(self, seconds):
        """Real-time factors for so many seconds of sound.

        Returns
        -------
        dict of str to float
            ``rtf``, ``rtf_encoder``, ``rtf_sampler``, ``rtf_decoder``; the first has
            spectrogram, overlap-add and level too.
        """
        parts = {f"rtf_{part}": self.seconds[part] / seconds for part in PARTS}
        return {"rtf": self.seconds["total"] / seconds} | parts

"""The inference path: waveforms in, restored waveforms out.

What happens to a recording at 48 kHz, with the module of each step::

    waveform (channels, time)
      | divided by the peak of each channel                          restorer
      | cut into windows of 2 s that overlap by 1 s                  windows, streaming
      v features, perhaps a pre-enhancer's first estimate            window_method
    spectrogram (batch, 2, frequencies, frames)
      v representation: encode                                       inference_copies
    latent (batch, channels, frequencies / 4, frames / 4), and skips
      v sampler, which calls the score network                       window_method
    restored latent
      v representation: decode, with the skips                       inference_copies
    windows of restored waveform
      v cross-faded, multiplied by the peak                          streaming
    restored waveform (channels, time)

The sizes are those of LAFUFU. In SGMSE+ the spectrogram is the representation: there
are no skips, and the latent is as large as the spectrogram.
"""

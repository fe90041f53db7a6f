"""The inference path: waveforms in, restored waveforms out.

What happens to a recording at 48 kHz, with the module of each step::

    waveform (channels, time)
      | levels measured; without a loud offset or rumble             levels
      | cut into windows of 2 s that overlap by 1 s                  windows, streaming
      | divided by the level of each window and channel              streaming
      v features, perhaps a pre-enhancer's first estimate            window_method
    spectrogram (batch, 2, frequencies, frames)
      v representation: encode                                       inference_copies
    latent (batch, channels, frequencies / 4, frames / 4), and skips
      v sampler, which calls the score network                       window_method
    restored latent
      v representation: decode, with the skips                       inference_copies
    windows of restored waveform
      v multiplied by their levels, cross-faded                      streaming
    restored waveform (channels, time)

The sizes are those of LAFUFU. In SGMSE+ the spectrogram is the representation: there
are no skips, and the latent is as large as the spectrogram.
"""

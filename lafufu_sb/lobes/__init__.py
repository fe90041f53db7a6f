"""Networks and transforms: spectrogram, autoencoder, noise-conditional score U-Net."""

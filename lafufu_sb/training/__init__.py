"""Training: stages, losses, recipes, checkpoints and export.

A recipe trains an optional pre-enhancer, then the autoencoder, then the score network
in the autoencoder's latent, and optionally fits it to few sampling steps. Each stage is
a SpeechBrain ``Brain``.
"""

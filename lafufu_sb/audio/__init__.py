"""Audio files: read, write, resample, cut into blocks."""

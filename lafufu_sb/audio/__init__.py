"""Audio input and output: files, streams of blocks, sample rates, waveform checks."""

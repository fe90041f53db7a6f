"""EARS-WHAM and EARS-Reverb: mixing rules, generation, simulated corpora."""

"""Generation of EARS-WHAM and EARS-Reverb."""

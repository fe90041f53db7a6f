"""Generation of EARS-WHAM and EARS-Reverb from the published downloads."""

"""Corpora: EARS generation, simulation, degradations, online mixing, pairs."""

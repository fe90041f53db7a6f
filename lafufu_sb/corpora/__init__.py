"""Corpora: EARS generation, simulation, online mixing, pairs."""

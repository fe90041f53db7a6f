"""Diffusion processes, what to train a network on, and samplers.

Three things that know nothing of each other's insides: a process (``sde``) gives
means, deviations and drifts; an objective (``objectives``) says what the network
estimates; a sampler (``samplers``) walks a process back with an estimate.
"""

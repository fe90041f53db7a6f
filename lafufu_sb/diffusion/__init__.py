"""Processes, training objectives and samplers. Knows no network.

A process gives means, deviations and drifts. An objective says what the network
estimates and how it is trained. A sampler walks a process back with an estimate. Each
is one file, registered by a decorator of :mod:`lafufu_sb.diffusion.registry`.
"""

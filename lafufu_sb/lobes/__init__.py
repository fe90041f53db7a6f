"""Networks, transforms and representations. Knows no diffusion process."""

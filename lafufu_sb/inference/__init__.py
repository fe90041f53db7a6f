"""What users load: EnhanceLatent, RestoredASR, model folders."""

"""Bundles at work: on which device, in which batches, and which bundle it is."""

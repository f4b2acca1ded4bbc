"""Photographs: sets on disk, which of them are learned from, and what of them is shown to the network."""

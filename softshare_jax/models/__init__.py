"""Ordinary Flax networks; ``zoo.named`` pairs each name with its sharing rule."""

"""Ordinary Flax networks. ``zoo.named`` pairs each name with a network and a sharing rule."""

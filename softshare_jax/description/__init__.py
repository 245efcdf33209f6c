"""Computes the cost of a network and its training step without running them."""

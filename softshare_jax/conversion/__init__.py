"""What makes a run, or an exported network, out of a run."""

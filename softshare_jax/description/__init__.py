"""What a network and its training step cost, before anything runs."""

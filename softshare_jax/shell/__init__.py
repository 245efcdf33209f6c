"""What stands between a command and the machine: flags, endings, faults, environment."""

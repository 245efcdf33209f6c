"""The command-line layer: flags, config files, exit codes, faults and environment."""

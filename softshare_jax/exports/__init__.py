"""An exported network on disk, and how any process reads and runs it: no Flax, no code of the network."""

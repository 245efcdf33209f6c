"""How any process reads and runs an exported network: no Flax and no code of the network needed."""

"""How any process reads and runs an exported network: no Flax, no code of the network."""

"""Operations that XLA computes slowly on CPUs, written in another way; networks know nothing of them."""

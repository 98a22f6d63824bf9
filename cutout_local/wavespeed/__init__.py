"""A WaveSpeed-compatible server: the vendor's HTTP contract with a remover of our own behind it."""

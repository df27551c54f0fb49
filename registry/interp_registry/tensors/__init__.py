"""Shared tensor code: layer addresses, capture by hooks, pooling, numerics, seeding. Import the modules you need."""

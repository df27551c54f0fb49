"""The text bottleneck: activation -> explanation of a few tokens -> activation, trained end to end."""

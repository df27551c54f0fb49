"""Natural-language autoencoders (Fraser-Taliente et al. 2026): a verbaliser writes about an activation, a reconstructor reads it."""

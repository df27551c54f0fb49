"""The embedded world and zoo: a designed world of pictures and captions, and tiny models trained on it.

Everything here works without a network: ``world`` makes scenes, pictures, captions and twins from a counter-based
hash; ``zoo`` holds the trained models as ordinary Hugging Face folders, and the recipes that made them.
"""

"""`interp cuts`: normalised cuts of the patches and words of image-text embeddings."""

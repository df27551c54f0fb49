"""`interp bench`: zero-shot classification, retrieval, Winoground and choices of image-text models."""

"""Data sets of images with texts: retrieval, Winoground, choices and classification, from the hub, files and the embedded world."""

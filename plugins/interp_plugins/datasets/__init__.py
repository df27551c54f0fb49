"""Data sets that ship with the tool: files, folders, tar archives, and the Hugging Face hub."""

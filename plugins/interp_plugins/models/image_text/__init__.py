"""Models of two towers, which embed images and texts in one space: CLIP and SigLIP."""

"""`interp clip`: train image-text models with alignment losses, and look at the losses."""

"""`interp demo`: extract and align the embedded models, and show what comes out."""

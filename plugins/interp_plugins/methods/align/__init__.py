"""`interp align`: how much do models agree on which samples are alike?"""

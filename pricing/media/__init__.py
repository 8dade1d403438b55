"""What a picture, a recording, a film or a document is, by its header: its pixels, seconds and pages. Pure.

Nothing is decoded but what says how large the thing is; whatever is not understood is unknown (None), never small.
"""

"""The inspector does the work: frames in, heightmaps, engines, scores out."""

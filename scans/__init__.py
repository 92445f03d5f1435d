"""Labelled folders of scans: what train, calib, export and sim read."""

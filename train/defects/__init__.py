"""Labelled training scans from good ones: find the bead in a scan, paint one defect on it with sizes in mm, write a folder to train on."""

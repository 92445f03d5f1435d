"""From a folder of good and bad scans to a trained typology network."""

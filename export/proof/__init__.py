"""What the held-out scans say: threshold, comparison, precision, golden inputs, latency."""

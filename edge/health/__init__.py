"""What the box says about itself: numbers that the daemons write into memory, and who reads them (`cordon status`, Prometheus)."""

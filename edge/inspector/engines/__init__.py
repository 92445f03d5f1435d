"""Networks compiled for this box, one module per runtime."""

"""The gate keeps the promises: serial link, deadlines, the final verdict and the records."""

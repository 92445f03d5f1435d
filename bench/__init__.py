"""Side-by-side measurements of the line against its alternatives."""

"""`cordon setup`: from the installed package to a configuration that holds, for the simulators or for a cell."""

"""What runs on the edge box: the gate, the inspector and the values they share."""

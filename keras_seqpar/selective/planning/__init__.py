"""What a stream computes for a change: runs of a graph, boxes, and the choice of a pass."""

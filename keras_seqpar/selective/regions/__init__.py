"""Segmentation of a stream: only regions that changed go through the network."""

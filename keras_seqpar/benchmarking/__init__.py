"""Streams beside the dense networks that they replace: files, rivals, measurements, tables."""

"""The files: read into operations and tensors, and written from them."""

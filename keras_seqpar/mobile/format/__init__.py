"""The format of the files: flatbuffers, metadata, names."""

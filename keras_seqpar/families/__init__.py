"""Families of networks: stem, stages and head, one file each."""

"""What every room uses: names, files, lazy imports."""

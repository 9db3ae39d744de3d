"""What the loop can train: classification of images, and segmentation of street scenes."""

"""Where images come from: folders, archives, tensorflow-datasets, scikit-learn's digits."""

"""The folder of one training run: what it holds, and how it survives a kill at any moment.

    flags.json       resolved flags, categories, versions; first the flags alone
    images.csv       names, sizes and checksums of the images, by which they are recognized
    checkpoint.npz   network, optimizer, epoch, step and history as of the last checkpoint
    best.keras       the network of the epoch with the highest validation accuracy
    last.keras       the network at the end
    history.csv      one line per epoch
    tensorboard/     the same numbers for TensorBoard, and images with predictions of best.keras
    curves.png       the same numbers as a figure, where matplotlib is installed
    summary.html     one page on the run, where matplotlib and scikit-learn are installed
    .lock            names the process that trains in the folder, and keeps others out

Every file except the TensorBoard logs is written under a temporary name and then renamed, so that
readers and the resumed run find the old file or the new one, complete.
"""

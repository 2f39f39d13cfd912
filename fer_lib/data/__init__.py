"""Where faces come from, and who may see which.

faces      `FaceDataset`, images with labels; names of classes
load       the parts of a data set, the split of a run, counts and digests
split      duplicates out, a balanced sample, a stratified validation set
picture    from a picture to the network's input
readers    image folder, zip archive, CSV, bundled faces
cache      decoded images on disk
"""

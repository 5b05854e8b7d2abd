"""The versions of all artifacts that are stored under a key.

A version is part of the keys of what it covers, and nothing else of the code is: when other numbers
are computed, raise it, so that what is stored is made again. Artifacts of earlier versions stay.
"""

WINDOW_VERSION = 7
"""Windows: how recordings are read, cut, resampled and rejected; with them all that follows."""
MMEA_VERSION = 2
"""Windows of UESTC-MMEA-CL: one unit for all clips, and the rows of the file instead of samples
interpolated between them."""
SPLIT_VERSION = 2
"""Windows of data sets whose `split_by_group` deals otherwise than the first version did."""
TRANSCODER_VERSION = 2
"""Small copies of videos, and windows, features and trials that are made from them."""
FEATURE_VERSION = 3
"""Features: which frames are decoded, how they are prepared, what a teacher computes; with them the
packed features and the trials of methods with a teacher."""
LAYOUT_VERSION = 4
"""Packed arrays: their files and types; with them all trials, which are named by their arrays."""
TRIAL_VERSION = 6
"""Trials: initial weights, order of the windows, losses, steps: all that changes a student."""
MEASURES_VERSION = 1
"""Measures: any number or prediction that a measure gives; students are kept."""
HAND_CRAFTED_VERSION = 1
"""Trials of hand-crafted features: the features, and the classifiers that are fitted on them."""

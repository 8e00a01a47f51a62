"""What the template module counts."""

import slicer


def countVoxels(node, volume):
    """The number of voxels of the segment "lesion"."""
    return int(slicer.util.arrayFromSegmentBinaryLabelmap(node, "lesion", volume).sum())

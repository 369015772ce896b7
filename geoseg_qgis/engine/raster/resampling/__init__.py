"""Every kernel that brings values onto other pixels. Pixels are areas, never points.

The kernels lie below the networks, so that reading, networks and methods use the same ones. Those
that seem alike differ in their numbers, on which published methods and trained networks depend:

`reads.sample_axis`, `reads.resample`
    Pixels of a raster file: the mean over the covered area when coarser, bilinear when finer.
    Invalid pixels take no part.
`grids.sample_bilinear`
    Scores on disk, read window by window on another grid over the same ground: bilinear, edges
    repeated, float32.
`grids.nearest_window`
    Ids on disk, read alike: the pixel under the centre, the later one on ties.
`tensors.resize_bilinear`
    Features, logits and masks of networks: PyTorch's bilinear mode without antialiasing.
`tensors.resize_nearest`
    Ids inside a window: PyTorch's nearest mode, floor(i * source / target) in float32, without
    turning ids into floating point.
`arrays.resize_fixed_point`
    8-bit images of networks that were trained on OpenCV's resize: its linear mode in integers.
`arrays.resize_nearest_array`
    Masks beside such images: OpenCV's nearest mode, floor(i * source / target) in integers.
`arrays.sample_positions`, `arrays.sample_grid`
    A prediction at any positions, or on any grid of the same axes: bilinear, edges repeated,
    positions in float64.

What a network does inside itself (its position embeddings, for example) stays with the network.
"""

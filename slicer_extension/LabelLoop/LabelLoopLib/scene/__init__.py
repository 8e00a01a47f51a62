"""MRML in and out: everything that touches the scene. Only `grid` and `image_files` may be used in worker threads."""

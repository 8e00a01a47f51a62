"""The pictures of the extension's documentation, taken while the tutorial is played against a real server.

``python -m tests.slicer.pictures`` takes them all, in about five minutes, and writes them to
``slicer_extension/Screenshots``. Buttons are clicked and message boxes are answered as a user does; only drawing is
played, with the phantoms' known truth, as the test bed has no tools that draw.
"""

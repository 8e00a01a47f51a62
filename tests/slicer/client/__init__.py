"""Tests of the client of the Slicer extension, which needs no Slicer."""

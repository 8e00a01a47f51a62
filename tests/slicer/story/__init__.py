"""A clinician's work through ``Workplace``, against a real server, also when things go wrong."""

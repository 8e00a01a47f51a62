"""A clinician played by a program: the whole loop over HTTP, with known truth as the hand that corrects."""

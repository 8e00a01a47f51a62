"""Strategies compared on studies whose truth is known: the loop's own code, with the truth in the clinician's place."""

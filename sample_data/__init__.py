"""Small studies with known truth: code that generates abdominal CT phantoms, and a few that it generated; and pictures
to classify.

Nothing here is patient data. ``SMALL`` is the folder of the kept set; `write_studies` writes others like it.
"""

from pathlib import Path

from sample_data.phantom import Phantom, make_phantom
from sample_data.pictures import make_picture, write_pictures
from sample_data.study_set import StudySet, write_studies

SMALL = Path(__file__).parent / "small"

__all__ = ["SMALL", "Phantom", "StudySet", "make_phantom", "make_picture", "write_pictures", "write_studies"]

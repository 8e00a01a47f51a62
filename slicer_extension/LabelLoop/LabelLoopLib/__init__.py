"""The parts of the LabelLoop module: ``panels`` over ``workflow`` over ``scene`` and ``jobs`` over ``client``."""

"""The template module's library."""

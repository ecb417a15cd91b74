"""Everything that an installation cannot make again, in one folder, and back."""

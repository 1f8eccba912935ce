"""The composition root: which services there are, and what each of them is given."""

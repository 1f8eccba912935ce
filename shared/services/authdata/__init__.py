"""Authentication data: staging, review, processing, and the work on its imports."""

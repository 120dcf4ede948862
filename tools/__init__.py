"""What keeps the repository in order: the lock file and the reference pages. Not part of the package."""

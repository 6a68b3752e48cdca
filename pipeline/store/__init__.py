"""What lives on disk."""

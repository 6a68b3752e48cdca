"""What finds neighbours."""

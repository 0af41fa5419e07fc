"""What is read from and written to a disk: whole, plain, checked."""

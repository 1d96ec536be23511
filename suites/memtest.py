"""memtest."""

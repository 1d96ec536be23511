"""valgrind."""

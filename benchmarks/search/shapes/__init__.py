"""The programs, by what goes wrong in them."""

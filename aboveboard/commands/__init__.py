"""The command's larger groups, one module each."""

"""Networks that come with the package, a folder for each."""

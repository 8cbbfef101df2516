"""A module per family: the network and the promises that it keeps."""

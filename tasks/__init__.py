"""The steps of Datasave's flows, and the libraries they are made of. README.md in this folder is the map."""

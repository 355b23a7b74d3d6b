"""aecodec in other people's libraries: thin adapters, imported by whoever wants them."""

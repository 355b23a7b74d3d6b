"""aecodec: a learned image codec whose files decode to the same symbols on every machine."""

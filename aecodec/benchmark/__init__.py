"""Measures codecs on people's own photographs: codecs -> metrics -> measure -> curves -> report."""

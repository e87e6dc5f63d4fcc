"""Whole results as files, for the API and the command line alike; each is written as a stream of pieces."""

"""Runs a sweep on Ray: prepare, encode, train. The only package that imports ray."""

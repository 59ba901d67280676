"""Members of a classifier that are no neural networks, and the combination of members.

A member gives the log-probability of each class for a document, from its token ids alone.
"""

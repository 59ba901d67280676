"""Linear members of a classifier, and the combination of members.

A member gives the log-probability of each class for a document, from its token ids alone.
"""

"""MLflow as a view of a study's records.

Owns how a study looks there, what is sent when, and what an outage means. Does not know what the
scores mean; nothing is read back that the records do not hold.
"""

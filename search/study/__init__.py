"""The rules of a study: what is proposed when, what becomes of a trial, how often it may fail.

Pure: knows nothing of Ray, Optuna, MLflow, engines or files; everything here is tested as a table.
Each of the three has a room within: `search.study.tuning`, `search.study.proposing`,
`search.study.tracking`.
"""

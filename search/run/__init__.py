"""The main job: `python -m search.run`.

Owns which study a command means, every check that can fail before an engine starts, the order of
the job, and what is shown while it runs. Does not know how a trial is proposed, run or scored.
"""

"""The live engine: one vLLM whose weights become one recipe after another, in place.

Owns vLLM and what runs inside its workers; `contract` is what others need to know of an engine.
Sees a recipe only as a plan and an objective only as requests; knows nothing of Ray, Optuna, MLflow
or records.
"""

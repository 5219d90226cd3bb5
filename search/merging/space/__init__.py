"""What is searched: the layer swap, the rival methods, the pairs of experts.

Owns which recipes there are, and which parameters mean which. Optuna appears only as something that
suggests numbers; engines and records do not appear at all.
"""

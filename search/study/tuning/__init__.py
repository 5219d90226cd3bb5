"""Ray's side of a study.

Owns Ray and Tune: the actors with their engines, the watchdog, nodes that come and go, and the thin
adapter that Tune asks for trials. Does not know what is proposed when (`search.study`) nor how
(`search.study.proposing`).
"""

"""What a user writes: conf/*.yaml, files of one's own, the command line.

Owns every default, every range and every explanation of a fault in them. Does not know what is done
with the values.
"""

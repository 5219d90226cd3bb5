"""What a study found: the recommended recipe, the final table, the figures.

Owns the rule of choice, what is compared with what, and how it looks in a terminal, as Markdown and
as figures. Does not know how the records came about; starts nothing.
"""

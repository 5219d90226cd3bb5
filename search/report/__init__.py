"""A study as pages for people: `python -m search.report [STUDY]`, report.html among them.

Owns what one sees of a study without a server: sentences, tables, figures and answers, in one file
that needs no network. Reads records and changes nothing of them. Does not judge: that is
`search.results`.
"""

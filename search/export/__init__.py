"""The winner as a Hugging Face checkpoint: `python -m search.export`.

Owns which merge is meant, the folder that is written, its model card, and the comparison of what it
answers with the records. Does not know how a recipe was found.
"""

"""The recipe of the embedded model: sentences, speech, training, export, evaluation.

Not part of the server's install.
"""

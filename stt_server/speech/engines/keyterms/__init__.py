"""Names and rare words that a caller expects.

`expected` reads them from the request, `spelling` lists the pieces that may write each, `lexicon` finds those that
sound like what was heard, `branches` leads a search along their letters, and `boosting` puts in place what was likely
enough.
"""

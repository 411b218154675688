"""Sentences spoken by synthesisers, written as shards of training/corpus.py.

    python -m training.synthesis TSV OUT --voices training --seed 1 --jobs 2

TSV holds `language TAB text` a line. The synthesisers are programs and libraries of Debian 12: espeak-ng,
libespeak-ng1, libflite1, libttspico-utils; for the voices kept apart, mbrola with mbrola-us1, -us2, -us3, -en1, -fr1,
-fr2, -fr3, -fr4 and -ca1 (the last two families are in non-free). Each is one file here.
"""

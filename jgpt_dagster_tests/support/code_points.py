"""The code points that a test of every character goes through."""

CODE_POINTS = (*range(0x40000), *range(0xE0000, 0xE1000), *range(0xF0000, 0xF0010), *range(0x10FFF0, 0x110000))
"""Planes 0 to 3, all of the tags and variation selectors, and both ends of private use.

The planes between have no characters and no reserved ranges. Surrogates are included.
"""

"""Charts as SVG: lines, bars with intervals and histograms, all with axes and units.

Each function is pure: the same figures give the same bytes. Text is escaped; grey and the colours of the marks read on
white and on black, because a picture in a page does not know the page's theme.
"""

"""Keeping a holder's key where it survives its holder: on paper, and in shares.

shares.py    a key in SLIP-39 shares, of which some put it together; the text of a share
sheet.py     the printable pages: a key's recovery sheet, a share's sheet
sheet.html, share.html, style.css   their templates
"""

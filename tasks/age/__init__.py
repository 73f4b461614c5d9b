"""Encryption to holders: the age v1 file format, on the standard library and `cryptography` alone.

::

    file.py        encrypt, decrypt, streams that do so, another header on the same payload: what others call
    keys.py        recipients and identities from text, every key class, key files under a passphrase
    x25519.py, hybrid.py, scrypt.py   the three ways to wrap a file key
    recipients.py  what they have in common: the seam, the no-mixing rule, HKDF, key wrapping
    header.py      stanzas and the header's MAC       stream.py    the payload's chunks
    armor.py       the ASCII form                     encoding.py  base64 and Bech32, strict
    buffering.py   whole reads and whole writes on any binary stream

Kept by hand: other Python implementations accept headers and payloads that the format forbids.
Format: C2SP age.md (age-encryption.org/v1). Everything written here opens with the stock ``age``
program; hybrid recipients need its version 1.3 or later.
"""

"""Encryption to holders: the age v1 file format, on the standard library and `cryptography` alone.

::

    file.py        encrypt, decrypt, decrypting_reader, decrypt_to_file: what other code calls
    rewrap.py      another header on the same payload     protected.py  identity files under a passphrase
    keys.py        recipients and identities from text, and every key class
    x25519.py, hybrid.py, scrypt.py   the three ways to wrap a file key
    recipients.py  what they have in common: the seam, the no-mixing rule, HKDF, key wrapping
    header.py      stanzas and the header's MAC       stream.py    the payload's chunks
    armor.py       the ASCII form                     encoding.py  base64 and Bech32, strict
    buffering.py   whole reads and whole writes on any binary stream

Format: C2SP age.md (age-encryption.org/v1). Everything written here opens with the stock ``age``
program; hybrid recipients need its version 1.3 or later.
"""

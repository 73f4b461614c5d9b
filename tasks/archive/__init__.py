"""Archives: a folder as one ``.tar.zst``, and back, readable by stock ``zstd`` and ``tar``.

- ``writer.py``   packs a folder in a fixed order; the same folder gives the same bytes
- ``reader.py``   extracts into an empty private folder, refusing whatever could harm
- ``frame.py``    the zstandard frame (RFC 8878), strictly: one frame, whole, with its checksum
- ``header.py``   the tar headers, written (POSIX pax)
- ``members.py``  the same, read (GNU long names too), strictly
- ``faults.py``   operating system errors in the program's own words

``tasks/platform/names.py`` says which names and link targets are safe, for both directions. The writer
refuses what the reader would refuse: an archive that was written can be extracted.
"""

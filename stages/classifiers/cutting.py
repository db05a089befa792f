"""The beginnings of texts."""

import pyarrow as pa
import pyarrow.compute as pc


def first_characters(texts: pa.StringArray, most: int) -> pa.StringArray:
    """Each text, or its first `most` characters where it has more."""
    long = pc.greater(pc.binary_length(texts), most)
    if not pc.any(long).as_py():
        return texts
    return pc.replace_with_mask(texts, long, pc.utf8_slice_codeunits(texts.filter(long), 0, most))

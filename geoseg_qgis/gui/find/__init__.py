"""The page that finds what the user writes: classes or one instruction."""

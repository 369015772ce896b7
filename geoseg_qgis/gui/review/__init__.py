"""The page that walks through the worst polygons of an assessment."""

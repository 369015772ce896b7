"""Training UniGeoSeg: losses, task schedule, data sets and the loop."""

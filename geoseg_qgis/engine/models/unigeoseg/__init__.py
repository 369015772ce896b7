"""UniGeoSeg: points, boxes, referring and reasoning requests in one network."""

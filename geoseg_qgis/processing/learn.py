"""``geoseg:learn``: imagery and labels of the user's own to a model of these classes."""

from __future__ import annotations

from .imagery import ImageryAlgorithm


class LearnAlgorithm(ImageryAlgorithm):
    """Learns classes from labels."""

    NAME = "learn"
    TITLE = "Learn from labels"
    GROUP = "Segmentation"
    GROUP_ID = "segmentation"
    TAGS = (
        "train",
        "supervised",
        "classifier",
        "training samples",
        "labels",
        "random forest",
        "land cover",
        "crop",
        "few-shot",
    )
    SUMMARY = """Learns the classes that you labelled with a few points, lines or polygons, and
        tells how accurate the model is on labels that it has not seen.

        The features of the built-in networks and colours, edges and texture are used, and several
        classifiers are compared on blocks of labels that are held back. Classify with a learnt
        model maps the classes on this imagery or on other imagery with the same bands and pixel
        size. Add labels where its uncertainty is high and learn again."""
    NUMBERS = {
        "MEAN_IOU": "Mean IoU of the classes on places that were held back, 0 to 1",
        "MEAN_IOU_LOW": "Lower end of the 95 % interval of the mean IoU",
        "MEAN_IOU_HIGH": "Upper end of the 95 % interval of the mean IoU",
        "ACCURACY": "Share of the places that were held back and classified right, 0 to 1",
        "CLASS_COUNT": "Number of classes",
        "PLACE_COUNT": "Number of labelled places",
        "PIXEL_COUNT": "Number of labelled pixels",
    }

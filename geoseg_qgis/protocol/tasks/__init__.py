"""The tasks: one file for each kind of job, found by scanning this folder."""

import pkgutil

for _module in pkgutil.iter_modules(__path__):
    # QGIS watches this function: modules that come in another way outlive a reload of the plugin.
    __import__(f"{__name__}.{_module.name}", fromlist=["*"])

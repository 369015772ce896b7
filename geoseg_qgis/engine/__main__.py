"""``python -m geoseg_qgis.engine``: the command line, or the server that QGIS drives."""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        from .server import main as serve

        sys.exit(serve(sys.argv[2:]))
    from .cli import main

    sys.exit(main(sys.argv[1:]))

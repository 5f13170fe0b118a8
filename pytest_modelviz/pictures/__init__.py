"""Arrays into images. numpy, pillow and matplotlib's colour maps; no torch."""

"""Paths of the server, and whether each needs the API key, if there is one."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
"""Folder of the page."""

STATIC_FILES = {
    "style.css": "text/css",
    "page.js": "text/javascript",
    "requests.js": "text/javascript",
    "answers.js": "text/javascript",
    "text.js": "text/javascript",
    "running.js": "text/javascript",
    "table.js": "text/javascript",
    "file.js": "text/javascript",
    "check.js": "text/javascript",
    "training.js": "text/javascript",
}
"""Files of the page, and the type of each."""

NEEDS_KEY = {
    "/predict": True,
    "/stream": True,
    "/explain": True,
    "/running": True,
    "/info": True,
    "/metrics": True,
    "/health": False,
    "/docs": False,
    "/openapi.json": False,
    "/corrections": True,
    "/training": True,
    "/training/use": True,
    "/": False,
    **{f"/{name}": False for name in STATIC_FILES},
}
"""Paths that there are; whatever else is asked for needs the key, too."""

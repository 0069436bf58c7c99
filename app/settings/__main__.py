"""`python -m app.settings`: the table of all settings, as it stands in the README."""

import sys

from app.settings import settings_table

sys.stdout.write(settings_table() + "\n")

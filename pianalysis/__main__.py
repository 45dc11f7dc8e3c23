"""`python -m pianalysis` is the command `pianalysis`."""

import sys

from pianalysis.cli import main

sys.exit(main())
